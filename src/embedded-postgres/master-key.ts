import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { openDataDir } from './data-folder.ts'
import { keepPrivate, readSmallFile, writeFileDurably } from './files.ts'

/**
 * The master key kept in `dataDir/master.key` (mode 0600), or undefined when there is none. Without this key nothing
 * sealed in the master opens.
 */
export const readMasterKey = async (dataDir: string): Promise<Buffer | undefined> => {
  const file = join(await openDataDir(dataDir), 'master.key')
  const kept = await readSmallFile(file)
  if (kept === undefined) return undefined
  await keepPrivate(file)
  const key = Buffer.from(kept.trim(), 'base64')
  if (key.byteLength !== 32)
    throw new OperatorError(`${file} does not hold a master key; restore it from a backup`)
  return key
}

/**
 * Makes the master key of a new installation. Call it while this process runs the embedded server, and only before the
 * installation itself is made: another key opens nothing of what is there.
 */
export const makeMasterKey = async (dataDir: string): Promise<Buffer> => {
  const key = randomBytes(32)
  const file = join(await openDataDir(dataDir), 'master.key')
  await writeFileDurably(file, `${key.toString('base64')}\n`, { mode: 0o600 })
  return key
}

/** What to tell an operator whose installation is there and whose key is not. */
export const lostMasterKey = (dataDir: string): OperatorError =>
  new OperatorError(
    `the master key is not in ${dataDir}; restore master.key from a backup, or set MASTER_KEY`,
  )
