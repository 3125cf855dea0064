import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Question, Reply, Setup, Usage } from './serve.ts'

/** What can be measured; each is a file in `servers/`. */
export type ServerName = 'fastify' | 'ceiling' | 'kysely' | 'client' | 'pools' | 'pgbouncer' | 'freehold'

/** A server in a process of its own. */
export type RunningServer = Readonly<{
  port: number
  usage(): Promise<Usage>
  /** As `usage`, after a full collection of garbage. */
  memory(): Promise<Usage>
  stop(): Promise<void>
}>

export type ServerProcess = RunningServer & Readonly<{ name: ServerName }>

const ask = async (child: ChildProcess, question: Question): Promise<Reply> => {
  const left = new AbortController()
  const answered = once(child, 'message', { signal: left.signal })
  const gone = once(child, 'exit', { signal: left.signal }).then(([code]) => {
    throw new Error(`a server process ended with ${code}`)
  })
  child.send(question)
  try {
    const [reply] = (await Promise.race([answered, gone])) as [Reply]
    if ('failed' in reply) throw new Error(`a server process failed: ${reply.failed}`)
    return reply
  } finally {
    left.abort()
    await Promise.allSettled([answered, gone])
  }
}

const askUsage = async (child: ChildProcess, question: Question): Promise<Usage> => {
  const reply = await ask(child, question)
  if (!('usage' in reply)) throw new Error('a server process gave another answer than was asked for')
  return reply.usage
}

/** Runs a file that calls `serve` and waits until it listens. `profile` is a folder for its processor profile. */
export const startProcess = async (
  file: string,
  setup: Setup,
  options: { profile?: string | undefined } = {},
): Promise<RunningServer> => {
  const profiling = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`]
  const child = fork(file, { execArgv: ['--expose-gc', ...profiling] })
  const reply = await ask(child, { ask: 'open', setup }).catch((error: unknown) => {
    child.kill()
    throw error
  })
  if (!('port' in reply)) throw new Error('a server process did not open')
  return {
    port: reply.port,
    usage: () => askUsage(child, { ask: 'usage' }),
    memory: () => askUsage(child, { ask: 'memory' }),
    stop: async () => {
      const exited = once(child, 'exit')
      await ask(child, { ask: 'close' })
      await exited
    },
  }
}

/** Starts one of the servers in `servers/`, as `startProcess` does. */
export const startServer = async (
  name: ServerName,
  setup: Setup,
  options: { profile?: string | undefined } = {},
): Promise<ServerProcess> => {
  const file = fileURLToPath(new URL(`../servers/${name}.ts`, import.meta.url))
  return { name, ...(await startProcess(file, setup, options)) }
}
