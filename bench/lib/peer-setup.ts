import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { PreparedPeers } from './listing.ts'
import type { Setup } from './serve.ts'

const run = promisify(execFile)
const room = fileURLToPath(new URL('../peers/', import.meta.url))

export const peerFile = (path: string): string => `${room}${path}`

const changedAt = (path: string): Promise<number> =>
  stat(peerFile(path)).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  )

/** Installs what the peers need, and generates Prisma's client, unless both are there and up to date. */
export const installPeers = async (): Promise<void> => {
  const installed = await changedAt('node_modules/.package-lock.json')
  if (installed < (await changedAt('package-lock.json'))) await run('npm', ['ci'], { cwd: room })
  const [generated, schema] = [await changedAt('dist/prisma/client.ts'), await changedAt('schema.prisma')]
  if (generated > Math.max(installed, schema)) return
  // Generating needs no engine, but the command wants to download one unless it is told of a program that is there.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' }
  const command = peerFile('node_modules/prisma/build/index.js')
  await run(process.execPath, [command, 'generate', '--schema', 'schema.prisma'], { cwd: room, env })
}

/** Makes and fills the peers' databases, in a process that has their packages. */
export const preparePeers = async (setup: Setup): Promise<PreparedPeers> => {
  const child = fork(peerFile('prepare.ts'))
  const left = new AbortController()
  const answered = once(child, 'message', { signal: left.signal }) as Promise<[PreparedPeers]>
  const gone = once(child, 'exit', { signal: left.signal }).then(([code]): never => {
    throw new Error(`the peers could not be prepared: ${code}`)
  })
  child.send(setup)
  try {
    const [prepared] = await Promise.race([answered, gone])
    return prepared
  } finally {
    left.abort()
    await Promise.allSettled([answered, gone])
  }
}

/** The versions that the lockfile holds, such as `express 5.3.0`. */
export const peerVersions = async (names: readonly string[]): Promise<string> => {
  const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
    await readFile(peerFile('package.json'), 'utf8'),
  )
  return names.map((name) => `${name} ${dependencies[name]}`).join(', ')
}
