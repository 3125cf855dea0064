import { randomBytes } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { openDataDir } from './data-folder.ts'
import { keepPrivate, readSmallFile, syncFolder, writeFileDurably } from './files.ts'

const currentFile = 'master.key'
/** The key that a rotation is on its way to. From the first value sealed under it on, both files are needed. */
const nextFile = 'master.key.next'

const readKey = async (file: string): Promise<Buffer | undefined> => {
  const kept = await readSmallFile(file)
  if (kept === undefined) return undefined
  await keepPrivate(file)
  const key = Buffer.from(kept.trim(), 'base64')
  if (key.byteLength !== 32)
    throw new OperatorError(`${file} does not hold a master key; restore it from a backup`)
  return key
}

const writeKey = async (file: string): Promise<Buffer> => {
  const key = randomBytes(32)
  await writeFileDurably(file, `${key.toString('base64')}\n`, { mode: 0o600 })
  return key
}

/**
 * The master key kept in `dataDir/master.key` (mode 0600), with the one in `master.key.next` while that takes its place;
 * undefined when there is no `master.key`. Without them nothing sealed in the master opens.
 */
export const readMasterKeys = async (
  dataDir: string,
): Promise<Buffer | readonly [Buffer, Buffer] | undefined> => {
  const folder = await openDataDir(dataDir)
  // In the order in which a rotation's end takes them away: a rename between the two reads hides neither.
  const next = await readKey(join(folder, nextFile))
  const current = await readKey(join(folder, currentFile))
  if (current === undefined || next === undefined || next.equals(current)) return current
  return [current, next]
}

/**
 * Makes the master key of a new installation. Call it while this process runs the embedded server, and only before the
 * installation itself is made: another key opens nothing of what is there.
 */
export const makeMasterKey = async (dataDir: string): Promise<Buffer> =>
  writeKey(join(await openDataDir(dataDir), currentFile))

/** Begins a rotation, or goes on with one: the key beside the present one, made if need be. One process at a time. */
export const makeNextMasterKey = async (dataDir: string): Promise<Buffer> => {
  const file = join(await openDataDir(dataDir), nextFile)
  return (await readKey(file)) ?? writeKey(file)
}

/** Ends a rotation: the next key takes the place of the present one. Only when nothing is sealed under that any more. */
export const adoptNextMasterKey = async (dataDir: string): Promise<void> => {
  const folder = await openDataDir(dataDir)
  await rename(join(folder, nextFile), join(folder, currentFile))
  await syncFolder(folder)
}

/** What to tell an operator whose installation is there and whose key is not. */
export const lostMasterKey = (dataDir: string): OperatorError =>
  new OperatorError(
    `the master key is not in ${dataDir}; restore master.key from a backup, or set MASTER_KEY`,
  )
