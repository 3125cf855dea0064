import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OperatorError } from '../kernel/errors.ts'
import { type SystemUser, unlessMissing } from './files.ts'

export const runsAsRoot = (): boolean => process.getuid?.() === 0

const passwd = async (): Promise<string[][]> =>
  ((await unlessMissing(readFile('/etc/passwd', 'utf8'))) ?? '').split('\n').map((line) => line.split(':'))

/** The uid and gid that most systems give to `nobody`, for those that do not list it. */
const usualNobody = 65_534

/**
 * The user that the server's programs run as, or undefined for our own. PostgreSQL refuses to run as root, so root
 * hands it to the owner of an existing data folder (Freehold may have run as that user before), else to `nobody`.
 */
export const serverUser = async (dataFolder: string): Promise<SystemUser | undefined> => {
  if (!runsAsRoot()) return undefined
  const existing = await unlessMissing(stat(dataFolder))
  if (existing !== undefined && existing.uid === 0) {
    throw new OperatorError(
      `${dataFolder} belongs to root, and PostgreSQL refuses to run as root; give it back to its user with: chown -R nobody '${dataFolder}'`,
    )
  }
  if (existing !== undefined) return { uid: existing.uid, gid: existing.gid }
  const nobody = (await passwd()).find(([name]) => name === 'nobody')
  // macOS writes -2; `>>> 0` makes it the unsigned number that file owners are shown with.
  return { uid: Number(nobody?.[2] ?? usualNobody) >>> 0, gid: Number(nobody?.[3] ?? usualNobody) >>> 0 }
}

/** What `spawn` needs to run a program as `user`. `spawn` takes signed numbers. */
export const spawnAs = (user: SystemUser | undefined): { uid?: number; gid?: number } =>
  user === undefined ? {} : { uid: user.uid | 0, gid: user.gid | 0 }

/** The login name of a uid, for messages. */
export const userName = async (uid: number): Promise<string> =>
  (await passwd()).find((fields) => fields[2] === String(uid))?.[0] ?? String(uid)

type Permissions = Readonly<{ uid: number; gid: number; mode: number }>

const may = (file: Permissions, user: SystemUser, bits: number): boolean => {
  const shift = file.uid === user.uid ? 6 : file.gid === user.gid ? 3 : 0
  return ((file.mode >> shift) & bits) === bits
}

/** The bits of a folder's mode: to pass through to a name one knows, and to list it as well. */
export const passing = 1
export const listing = 5

/**
 * True when `user` has the rights `bits` on `path` and may pass through every folder above it, read by their mode bits.
 * `undefined`, our own user, is taken to have them.
 */
export const canReach = async (
  path: string,
  user: SystemUser | undefined,
  bits: number,
): Promise<boolean> => {
  if (user === undefined) return true
  if (!may(await stat(path), user, bits)) return false
  return dirname(path) === path || canReach(dirname(path), user, passing)
}

/**
 * How the server's programs, started with `folder` as their working folder, are told where it is. When root keeps its
 * data where `nobody` cannot pass (a clone under /root), the path itself is useless to them; but root has already put
 * them inside, and on Linux `/proc/self/cwd` leads there past the closed parents. So the data always stays under
 * DATA_DIR, where backups and volumes expect it, and no parent's mode is opened.
 */
export const folderArgument = async (folder: string, user: SystemUser | undefined): Promise<string> => {
  if (await canReach(dirname(folder), user, passing)) return folder
  if (process.platform === 'linux' && (await unlessMissing(stat('/proc/self/cwd'))) !== undefined) {
    return '/proc/self/cwd'
  }
  throw new OperatorError(
    `As root, the database server runs as user ${await userName(user?.uid ?? usualNobody)}, who cannot reach ${dirname(folder)}; set DATA_DIR to a folder outside root's home, or start Freehold as another user`,
  )
}
