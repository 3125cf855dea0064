import { open, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { OperatorError } from '../kernel/errors.ts'
import { errorCode, readSmallFile, unlessMissing } from './files.ts'

/**
 * One Freehold process per data folder. Node has no file lock of its own, but the SQLite inside it holds one of the
 * operating system (fcntl, LockFileEx): it goes with the process however that ends, so there is no stale lock and no
 * pid to mistake for another's, and containers that share the folder on one machine see it too. The database file stays
 * empty. Never open `freehold.lock` by other means in this process: closing it would drop the lock (POSIX).
 */
export type FolderLock = { release(): Promise<void> }

const lockFile = (dataDir: string): string => join(dataDir, 'freehold.lock')
/** Only for messages; who holds the lock is decided by the lock. */
const pidFile = (dataDir: string): string => join(dataDir, 'freehold.pid')

const sqliteBusy = 5
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy

/** Runs the statements on the lock's file; answers undefined when another process holds the lock. */
const tryLock = (path: string, readOnly: boolean, sql: string): DatabaseSync | undefined => {
  const database = new DatabaseSync(path, { readOnly, timeout: 0 })
  try {
    database.exec(sql)
    return database
  } catch (error) {
    database.close()
    if (isBusy(error)) return undefined
    throw error
  }
}

const holderPid = async (dataDir: string): Promise<number | undefined> => {
  const pid = Number(await readSmallFile(pidFile(dataDir)))
  return Number.isInteger(pid) && pid > 0 ? pid : undefined
}

const createLockFile = async (path: string): Promise<void> => {
  try {
    await (await open(path, 'wx', 0o600)).close()
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
  }
}

/**
 * Takes the lock, or throws an OperatorError that names the process which has it. Tries for 200 ms, because someone who
 * only asks for the holder is in the way for an instant, and so that the winner of a race has written its number.
 */
export const takeFolderLock = async (dataDir: string): Promise<FolderLock> => {
  const path = lockFile(dataDir)
  await createLockFile(path)
  for (let attempt = 0; attempt < 10; attempt++) {
    const database = tryLock(path, false, 'pragma journal_mode = memory; begin exclusive')
    if (database !== undefined) {
      await writeFile(pidFile(dataDir), `${process.pid}\n`, { mode: 0o600 })
      return {
        async release() {
          if (!database.isOpen) return
          await unlessMissing(unlink(pidFile(dataDir)))
          if (database.isOpen) database.close()
        },
      }
    }
    await sleep(20)
  }
  const pid = await holderPid(dataDir)
  throw new OperatorError(
    `Freehold already runs on ${dataDir}${pid === undefined ? '' : ` (process ${pid})`}; stop it, or set DATA_DIR to another folder`,
  )
}

/** True while a live process holds the lock. */
export const isFolderLocked = async (dataDir: string): Promise<boolean> => {
  const path = lockFile(dataDir)
  try {
    const database = tryLock(path, true, 'select 1 from sqlite_schema')
    database?.close()
    return database === undefined
  } catch (error) {
    // Nobody ever started here. SQLite does not tell a missing file from one it may not open; the owner was checked before.
    if (error instanceof Error && error.message.includes('unable to open')) return false
    throw error
  }
}
