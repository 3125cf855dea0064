import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'

const run = promisify(execFile)

/** What stands on a server when a test gets it: `furnished` is one where Freehold has run before. */
export type Furniture = 'empty' | 'furnished'

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** Makes the stopped server that all others of this run are copies of. Whole or not at all: several may do it at once. */
const make = async (runFolder: string, original: string, furniture: Furniture): Promise<void> => {
  const folder = await mkdtemp(join(runFolder, 'original-'))
  await chmod(folder, 0o711)
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), durable: false })
  try {
    if (furniture === 'furnished') {
      // Only here: most files that need an empty server need nothing of this.
      const { openLandlord } = await import('./tenant-manager.ts')
      const landlord = await openLandlord(server, { spareDatabases: 4 })
      await landlord.manager.refillSpares()
      await landlord.close()
    }
  } finally {
    await server.stop()
  }
  await rename(folder, original).catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true })
    if (!(await exists(original))) throw error
  })
}

/**
 * Puts a server's data folder at `dataDir`: a copy of one that this run has made before, which takes a tenth of making
 * it. Does nothing outside a run of tap, where the start makes it.
 */
export const provideServerCopy = async (dataDir: string, furniture: Furniture): Promise<void> => {
  const runFolder = process.env.FREEHOLD_TEST_RUN
  if (runFolder === undefined || process.platform === 'win32') return
  const original = join(runFolder, furniture)
  if (!(await exists(original))) await make(runFolder, original, furniture)
  await run('cp', ['-a', join(original, 'data'), dataDir])
}
