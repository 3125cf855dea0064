import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import type { Test } from 'tap'
import { dataFolderOf } from '../../src/embedded-postgres/data-folder.ts'
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { readPostmasterFile } from '../../src/embedded-postgres/postmaster-file.ts'
import { serverProcessesIn } from '../../src/embedded-postgres/processes.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { nodeApart } from '../helpers/apart.ts'

export const isRoot = process.getuid?.() === 0
export const nobody = 65_534

/** Ends a process that may be gone already. */
export const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone.
  }
}

/** The live server processes of a data folder, whoever started them. */
export const serversOf = async (dataDir: string): Promise<number[]> =>
  serverProcessesIn(dataFolderOf(dataDir), (await readPostmasterFile(dataFolderOf(dataDir)))?.pid)

export const until = async <T>(look: () => Promise<T | undefined | false>): Promise<T> => {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    await sleep(10)
  }
}

/** A new data folder's path. After the test nothing may run on it: what does is killed, and the test fails. */
export const newDataDir = async (t: Test): Promise<string> => {
  const parent = await realpath(await mkdtemp(join(tmpdir(), 'test-embedded-')))
  await chmod(parent, 0o711)
  const dataDir = join(parent, 'data')
  t.teardown(async () => {
    const left = await serversOf(dataDir).catch(() => [])
    left.forEach(kill)
    await until(async () => (await serversOf(dataDir).catch(() => [])).length === 0)
    await rm(parent, { recursive: true, force: true, maxRetries: 5 })
    if (left.length > 0) throw new Error(`servers were left running: ${left.join(' ')}`)
  })
  return dataDir
}

/** Starts the server in this process, and stops it after the test. */
export const start = async (t: Test, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  const server = await startEmbeddedPostgres({ durable: false, ...options })
  t.teardown(() => server.stop())
  return server
}

export type Answer = { server?: Omit<EmbeddedPostgres, 'stop'>; lines?: string[]; error?: string }
export type Freehold = {
  child: ChildProcess
  answer: Promise<Answer>
  end(signal: NodeJS.Signals): Promise<void>
}

export const ownFixture = fileURLToPath(new URL('fixture.ts', import.meta.url))

/** Starts the server in a process of its own, which leads a process group as one in a terminal does. */
export const spawnFreehold = (
  t: Test,
  options: EmbeddedPostgresOptions & { uid?: number },
  fixture = ownFixture,
): Freehold => {
  const [program, ...first] = nodeApart
  const child = spawn(program, [...first, fixture, JSON.stringify({ durable: false, ...options })], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const answer = new Promise<Answer>((resolve) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line)))
    void gone.then(() => resolve({ error: 'ended without an answer' }))
  })
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await gone
  }
  t.teardown(() => end('SIGTERM'))
  return { child, answer, end }
}

/** Runs statements one after the other on one connection; answers the rows of the last. */
export const query = async (address: PostgresAddress, ...statements: string[]): Promise<unknown[]> => {
  const client = new Client(clientOptions(address))
  // The server's end reaches an idle connection as an event; a running query rejects as well.
  client.on('error', () => undefined)
  await client.connect()
  try {
    let rows: unknown[] = []
    for (const statement of statements) rows = (await client.query(statement)).rows
    return rows
  } finally {
    await client.end()
  }
}

/** The SQLSTATE with which the server refuses a connection, or `connected`. */
export const refusal = async (address: PostgresAddress): Promise<string> => {
  try {
    await query(address)
    return 'connected'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

/** Path, size, and times of everything below a folder: two equal answers mean that nothing was touched between. */
export const snapshot = async (folder: string): Promise<string[]> => {
  const names = (await readdir(folder, { recursive: true })).sort()
  return Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs, ctimeMs, mode } = await stat(join(folder, name))
      return `${name} ${size} ${mtimeMs} ${ctimeMs} ${mode}`
    }),
  )
}
