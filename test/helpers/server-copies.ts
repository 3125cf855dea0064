import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'

const run = promisify(execFile)

/** What stands on a server when a test gets it: `furnished` is one where Freehold has run before. */
export type Furniture = 'empty' | 'furnished'

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/**
 * A folder of this run that `fill` made, the first time that it is asked for. Whole or not at all: several processes may do
 * it at once, and one of them wins.
 */
export const originalOf = async (name: string, fill: (folder: string) => Promise<void>): Promise<string> => {
  const runFolder = process.env.FREEHOLD_TEST_RUN
  if (runFolder === undefined) throw new Error('no run of the suite: test/helpers/preload.ts was not loaded')
  const original = join(runFolder, name)
  if (await exists(original)) return original
  const folder = await mkdtemp(join(runFolder, 'original-'))
  await chmod(folder, 0o711)
  await fill(folder)
  await rename(folder, original).catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true })
    if (!(await exists(original))) throw error
  })
  return original
}

/** Many servers run at once here, all in memory, and each is copied. They obey from their next start on. */
const useLittleMemory = async (superuser: PostgresAddress): Promise<void> => {
  const client = new pg.Client(clientOptions(superuser))
  await client.connect()
  await client.query("alter system set shared_buffers = '64MB'")
  await client.query("alter system set wal_recycle = 'off'")
  await client.query('select pg_reload_conf()')
  await client.end()
}

/** Makes the stopped server that all others of this run are copies of. */
const makeServer = async (folder: string, furniture: Furniture): Promise<void> => {
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), durable: false })
  try {
    await useLittleMemory(server.superuser)
    if (furniture === 'empty') return
    // Only here: most files that need an empty server need nothing of this.
    const { openLandlord } = await import('./tenant-manager.ts')
    const landlord = await openLandlord(server, { spareDatabases: 4 })
    await landlord.manager.refillSpares()
    await landlord.close()
  } finally {
    await server.stop()
  }
}

/** Copies a folder with everything that it says of its files. */
export const copyFolder = async (from: string, to: string): Promise<void> => {
  await run('cp', ['-a', from, to])
}

/**
 * Puts a server's data folder at `dataDir`: a copy of one that this run has made before, which takes a tenth of making
 * it. Does nothing outside a run of tap, where the start makes it.
 */
export const provideServerCopy = async (dataDir: string, furniture: Furniture): Promise<void> => {
  if (process.env.FREEHOLD_TEST_RUN === undefined || process.platform === 'win32') return
  const original = await originalOf(furniture, (folder) => makeServer(folder, furniture))
  await copyFolder(join(original, 'data'), dataDir)
}
