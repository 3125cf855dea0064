import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { type BenchGrounds, publicUrl } from '../lib/world.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A node as its operator starts it: `node src/main.ts` in a process of its own. */
export type NodeProcess = Readonly<{
  address: string
  port: number
  pid: number
  /** Sends the signal and waits for the end. Throws unless it ended with 0. */
  stop(signal?: NodeJS.Signals): Promise<void>
}>

/** A port that nobody listens on just now. */
export const freePort = async (): Promise<number> => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

const urlOf = ({ host, port, database, user, password }: PostgresAddress): string => {
  const [name, secret] = [user, password].map(encodeURIComponent)
  return `postgres://${name}:${secret}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`
}

const whenReady = (child: ChildProcess, said: string[]): Promise<void> => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said.push(text)
    if (said.join('').includes('Ctrl-C stops.')) resolve()
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => void said.push(text))
  child.once('exit', (code) => reject(new Error(`a node ended with ${code}: ${said.join('')}`)))
  return promise
}

/** Starts a node and waits until it is ready. `master` may be another way to the same server than the world's own. */
export const startNode = async (
  grounds: BenchGrounds,
  options: { port?: number; master?: PostgresAddress; env?: Record<string, string> } = {},
): Promise<NodeProcess> => {
  const port = options.port ?? (await freePort())
  const { master, provisioner } = { ...grounds, ...options }
  const child = spawn(process.execPath, [main], {
    cwd: '/',
    env: {
      ...{ PATH: process.env.PATH, PORT: String(port), HOST: '127.0.0.1', PUBLIC_URL: publicUrl },
      ...{ MASTER_DATABASE_URL: urlOf(master), PROVISIONER_DATABASE_URL: urlOf(provisioner) },
      ...{ MASTER_KEY: grounds.masterKey, ROLE: 'api', LOG_LEVEL: 'fatal', ...options.env },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  const said: string[] = []
  await whenReady(child, said)
  return {
    address: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid ?? 0,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal)
      const [code] = await exited
      if (code !== 0) throw new Error(`a node ended with ${code}: ${said.join('')}`)
    },
  }
}
