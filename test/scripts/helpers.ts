import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openMaster } from '../../src/master/master.ts'
import { insertPerson } from '../../src/master/people.ts'
import { compileCache } from '../helpers/compile-cache.ts'

export const launcher = fileURLToPath(new URL('../../scripts/freehold.sh', import.meta.url))

export type Outcome = { code: number | null; stdout: string; stderr: string }

type Environment = Record<string, string>

/** Empty variables count as not set and keep a developer's .env out of the test. */
const environment = (env: Environment): Environment => ({
  ...compileCache,
  PATH: process.env.PATH ?? '',
  HOME: process.env.HOME ?? '',
  MASTER_DATABASE_URL: '',
  PROVISIONER_DATABASE_URL: '',
  MASTER_KEY: '',
  ADMIN_EMAIL: '',
  LOG_LEVEL: '',
  SPARE_DATABASES: '1',
  ...env,
})

/** Starts a program with exactly this environment. */
export const start = (program: string, args: readonly string[], env: Environment) => {
  // tap would load its own instruments into every Node it sees started.
  const child: ChildProcess = spawn(
    '/usr/bin/env',
    ['-i', ...Object.entries(environment(env)).map(([name, value]) => `${name}=${value}`), program, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => (stream ? text(stream) : ''))
  const outcome = async (): Promise<Outcome> => {
    const code = await ended
    return { code, stdout: (await stdout) ?? '', stderr: (await stderr) ?? '' }
  }
  return { child, outcome: outcome() }
}

/** Runs the real launcher on a data folder until it ends. */
export const freeholdOn =
  (dataDir: string, env: Environment = {}) =>
  (...args: string[]): Promise<Outcome> =>
    start(launcher, args, { DATA_DIR: dataDir, ...env }).outcome

/** Adds an account to a migrated master. */
export const addPerson = async (address: PostgresAddress, email: string): Promise<void> => {
  const master = openMaster(address, createLogger('silent'))
  try {
    await master.db
      .transaction()
      .execute((trx) => insertPerson(trx, { email, firstName: 'Ada', lastName: null, passwordHash: 'none' }))
  } finally {
    await master.close()
  }
}

/** Runs `work` on a data folder's server that only runs for it. */
export const whileStarted = async (
  dataDir: string,
  work: (server: { master: PostgresAddress; superuser: PostgresAddress }) => Promise<void>,
): Promise<void> => {
  const server = await startEmbeddedPostgres({ dataDir, durable: false })
  try {
    await work(server)
  } finally {
    await server.stop()
  }
}
