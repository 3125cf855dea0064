import { access, chmod, constants, lstat, mkdir, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { errorCode, readSmallFile, syncFolder, unlessMissing } from './files.ts'
import { runsAsRoot, userName } from './server-user.ts'

/** The server's own folder under the data folder of Freehold. */
export const dataFolderOf = (dataDir: string): string => join(dataDir, 'postgres')

const belongsTo = async (path: string, owner: number): Promise<OperatorError> =>
  new OperatorError(
    `The data folder ${path} belongs to user ${await userName(owner)}; start Freehold as that user, or set DATA_DIR to another folder`,
  )

/** The nearest folder of `path` that we can see, for the name of its owner. */
const visible = async (path: string): Promise<{ path: string; uid: number }> => {
  try {
    return { path, uid: (await stat(path)).uid }
  } catch {
    return visible(dirname(path))
  }
}

/** Throws an OperatorError when the data folder, or what an earlier start put into it, belongs to another user. */
const refuseForeignOwner = async (dataDir: string): Promise<void> => {
  const uid = process.getuid?.()
  if (uid === undefined || runsAsRoot()) return
  try {
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    throw await belongsTo(dataDir, (await visible(dataDir)).uid)
  }
  for (const name of ['freehold.lock', 'postgres-credentials.json', 'postgres']) {
    const found = await unlessMissing(lstat(join(dataDir, name)))
    if (found !== undefined && found.uid !== uid) throw await belongsTo(dataDir, found.uid)
  }
}

/**
 * Makes the data folder if need be and answers its real path. One made by root may be passed through, not listed, by
 * others (0711): the server's user must reach its own folder inside. Throws an OperatorError when it belongs to another.
 */
export const openDataDir = async (path: string): Promise<string> => {
  try {
    const mode = runsAsRoot() ? 0o711 : 0o700
    if ((await mkdir(path, { recursive: true, mode })) !== undefined) {
      await chmod(path, mode)
      await syncFolder(dirname(path))
    }
  } catch (error) {
    if (errorCode(error) === 'EACCES') throw await belongsTo(path, (await visible(path)).uid)
    if (errorCode(error) === 'EEXIST' || errorCode(error) === 'ENOTDIR') {
      throw new OperatorError(`${path} is not a folder; set DATA_DIR to one`, error)
    }
    throw error
  }
  await refuseForeignOwner(path)
  return realpath(path)
}

/** As `openDataDir`, but makes nothing: answers undefined when there is no data folder. */
export const findDataDir = async (path: string): Promise<string | undefined> => {
  try {
    if ((await unlessMissing(stat(path))) === undefined) return undefined
  } catch (error) {
    if (errorCode(error) === 'EACCES') throw await belongsTo(path, (await visible(path)).uid)
    throw error
  }
  await refuseForeignOwner(path)
  return realpath(path)
}

/**
 * True when a complete data folder of this major version is there, false when there is none. What is neither, we did not
 * make (ours appear complete, by a rename) and do not touch: an OperatorError.
 */
export const hasDataFolder = async (dataFolder: string, major: string): Promise<boolean> => {
  if ((await unlessMissing(lstat(dataFolder))) === undefined) return false
  const version = (await readSmallFile(join(dataFolder, 'PG_VERSION')))?.trim()
  const control = await unlessMissing(lstat(join(dataFolder, 'global', 'pg_control')))
  if (version === undefined || control === undefined) {
    throw new OperatorError(
      `${dataFolder} is not a complete PostgreSQL data folder (${version === undefined ? 'PG_VERSION' : 'global/pg_control'} is missing); restore it from a backup, or move it away to begin empty`,
    )
  }
  if (version !== major) {
    throw new OperatorError(
      `${dataFolder} was made by PostgreSQL ${version}, and this Freehold brings PostgreSQL ${major}; use the Freehold that made it, or move it away to begin empty`,
    )
  }
  return true
}
