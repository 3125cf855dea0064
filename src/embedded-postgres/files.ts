import { constants } from 'node:fs'
import { chmod, lstat, open, rename, rm, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/** A user of the operating system, as `chown` and `spawn` take it. */
export type SystemUser = Readonly<{ uid: number; gid: number }>

/** The code of a system error (`ENOENT`), or undefined for anything else. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Runs `work` and answers undefined when it fails because the file or folder is not there. */
export const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Makes what was renamed or created in `folder` survive a power cut. Windows has no such call and needs none. */
export const syncFolder = async (folder: string): Promise<void> => {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Writes a file so that a reader, a crash or a power cut sees the old text or the new one, never a part. The caller
 * holds the folder lock: two writers of one path would share the temporary name. Follows no symlink, because some of
 * these folders belong to the server's user while root writes into them.
 */
export const writeFileDurably = async (
  path: string,
  text: string,
  options: { mode: number; owner?: SystemUser | undefined },
): Promise<void> => {
  const temporary = `${path}.new`
  await unlessMissing(unlink(temporary))
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    if (options.owner !== undefined) await handle.chown(options.owner.uid, options.owner.gid)
    await handle.chmod(options.mode)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  await syncFolder(dirname(path))
}

/**
 * The text of a small regular file, at most `limit` bytes from its end, or undefined when there is none. Follows no
 * symlink and waits on no pipe, for the same reason as above.
 */
export const readSmallFile = async (path: string, limit = 64 * 1024): Promise<string | undefined> => {
  const handle = await unlessMissing(
    open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  )
  if (handle === undefined) return undefined
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) return undefined
    const length = Math.min(stat.size, limit)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, stat.size - length)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** Takes away rights of group and others that a copy or a restore may have left on a secret file. */
export const keepPrivate = async (path: string): Promise<void> => {
  if (((await lstat(path)).mode & 0o077) !== 0) await chmod(path, 0o600)
}

/** Removes a folder and all in it, also while a dying process still adds files to it. */
export const removeFolder = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
