import { createHash } from 'node:crypto'
import { chown, lstat, mkdtemp, readdir, rmdir, stat, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { type SystemUser, unlessMissing } from './files.ts'
import { canReach, passing, runsAsRoot } from './server-user.ts'

/** Only names the socket's file (`.s.PGSQL.5432`); nothing listens on a port. */
export const socketPort = 5432

/** The shortest limit of the systems we run on (macOS, with its ending zero; Linux has 107). */
const longestSocketPath = 103

const places = (): string[] => [
  ...new Set([
    ...(runsAsRoot() ? ['/run'] : []),
    ...(isAbsolute(tmpdir()) ? [tmpdir()] : []),
    '/tmp',
    '/var/tmp',
  ]),
]

/**
 * Names this data folder by device and inode too: two containers that share /tmp may have the same path in both, and
 * one must not sweep away the other's socket.
 */
const prefix = async (dataDir: string): Promise<string> => {
  const { dev, ino } = await stat(dataDir)
  return `freehold-${createHash('sha256').update(`${dataDir}\n${dev}\n${ino}`).digest('hex').slice(0, 8)}-`
}

/** Removes a socket folder. Only the names that the server makes are touched, so a planted link leads nowhere. */
export const removeSocketFolder = async (folder: string): Promise<void> => {
  for (const name of [`.s.PGSQL.${socketPort}`, `.s.PGSQL.${socketPort}.lock`]) {
    await unlessMissing(unlink(join(folder, name)))
  }
  await unlessMissing(rmdir(folder))
}

const isOurs = async (folder: string, user: SystemUser | undefined): Promise<boolean> => {
  const found = await unlessMissing(lstat(folder))
  if (found === undefined || !found.isDirectory()) return false
  return found.uid === user?.uid || found.uid === process.getuid?.()
}

const sweep = async (place: string, start: string, user: SystemUser | undefined): Promise<void> => {
  const names = await readdir(place).catch(() => [])
  for (const name of names.filter((n) => n.startsWith(start))) {
    const folder = join(place, name)
    // What cannot be swept is not in the way: the new folder has another name.
    if (await isOurs(folder, user)) await removeSocketFolder(folder).catch(() => undefined)
  }
}

const tryPlace = async (
  place: string,
  start: string,
  user: SystemUser | undefined,
): Promise<string | undefined> => {
  const path = join(place, `${start}XXXXXX`, `.s.PGSQL.${socketPort}`)
  if (Buffer.byteLength(path) > longestSocketPath || !(await canReach(place, user, passing))) return undefined
  const folder = await mkdtemp(join(place, start))
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  return folder
}

/**
 * Makes a short, private folder (0700, of the server's user) for the server's socket: the path of a data folder is often
 * too long for one. It is new at each start and its name cannot be guessed, so nobody can plant it and a cleaner of
 * temporary files cannot break a start; those that killed processes left behind are swept first.
 */
export const createSocketFolder = async (dataDir: string, user: SystemUser | undefined): Promise<string> => {
  const start = await prefix(dataDir)
  for (const place of places()) await sweep(place, start, user)
  for (const place of places()) {
    const folder = await tryPlace(place, start, user).catch(() => undefined)
    if (folder !== undefined) return folder
  }
  throw new OperatorError(
    `No folder for the database's socket can be made in ${places().join(', ')}; make one writable`,
  )
}

/** True when only the server's user can have put a socket into `folder`, so that a password may be spoken there. */
export const isTrustedSocketFolder = async (folder: string, serverUid: number): Promise<boolean> => {
  const found = await unlessMissing(lstat(folder))
  return found?.isDirectory() === true && found.uid === serverUid && (found.mode & 0o077) === 0
}
