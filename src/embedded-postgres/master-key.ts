import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { openDataDir } from './data-folder.ts'
import { keepPrivate, readSmallFile, writeFileDurably } from './files.ts'

/**
 * The master key kept in `dataDir/master.key` (mode 0600); made at the first start. Call it while this process runs the
 * embedded server, or while another does and has made the key. Without this key nothing sealed in the master opens.
 */
export const provideMasterKey = async (dataDir: string): Promise<Buffer> => {
  const file = join(await openDataDir(dataDir), 'master.key')
  const kept = await readSmallFile(file)
  if (kept === undefined) {
    const key = randomBytes(32)
    await writeFileDurably(file, `${key.toString('base64')}\n`, { mode: 0o600 })
    return key
  }
  await keepPrivate(file)
  const key = Buffer.from(kept.trim(), 'base64')
  if (key.byteLength !== 32)
    throw new OperatorError(`${file} does not hold a master key; restore it from a backup`)
  return key
}
