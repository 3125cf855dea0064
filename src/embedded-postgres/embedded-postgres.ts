import { lstat } from 'node:fs/promises'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { type Credentials, provideCredentials, type Role, readCredentials } from './credentials.ts'
import { dataFolderOf, findDataDir, hasDataFolder, openDataDir } from './data-folder.ts'
import type { SystemUser } from './files.ts'
import { type FolderLock, isFolderLocked, takeFolderLock } from './folder-lock.ts'
import { initialise } from './initialise.ts'
import { removeScratchFolders, stopLeftOverServer } from './left-over.ts'
import { readPostmasterFile } from './postmaster-file.ts'
import { type Programs, programsVersion, providePrograms } from './programs.ts'
import { startServer } from './server.ts'
import { serverUser } from './server-user.ts'
import { writeSettings } from './settings.ts'
import { createSocketFolder, isTrustedSocketFolder, removeSocketFolder } from './socket-folder.ts'

/** A running PostgreSQL of Freehold's own. Its addresses hold passwords: never log them. */
export type EmbeddedPostgres = {
  /** The database of Freehold itself, as role freehold_master: it owns `freehold` and can connect nowhere else. */
  readonly master: PostgresAddress
  /** Role freehold_provisioner in database `postgres`: CREATEDB and CREATEROLE, no superuser, refused by `freehold`. */
  readonly provisioner: PostgresAddress
  /** The superuser in database `postgres`, for the doctor and for tests. */
  readonly superuser: PostgresAddress
  /** True when this start made the databases. A first start that is killed later does not get it again. */
  readonly firstStart: boolean
  /** Such as `18.4`. */
  readonly version: string
  /** Ends all sessions, stops the server, and lets the data folder go. Safe twice. */
  stop(): Promise<void>
}

export type EmbeddedPostgresOptions = {
  dataDir: string
  maxConnections?: number
  /** `false` (tests only) trades safety after a power cut for speed. */
  durable?: boolean
  /** What the server's programs say while they start; later messages are in `postgres/log` under the data folder. */
  onLog?: (line: string) => void
  /** Called once when the server ends without being asked to. Still call `stop` then. */
  onExit?: (reason: string) => void
}

type Addresses = Pick<EmbeddedPostgres, 'master' | 'provisioner' | 'superuser'>

const addresses = (host: string, port: number, credentials: Credentials): Addresses => {
  const address = (user: Role, database: string): PostgresAddress =>
    Object.freeze({ host, port, database, user, password: credentials[user], ssl: 'disable' })
  return {
    master: address('freehold_master', 'freehold'),
    provisioner: address('freehold_provisioner', 'postgres'),
    superuser: address('postgres', 'postgres'),
  }
}

type Prepared = Readonly<{
  dataFolder: string
  user: SystemUser | undefined
  programs: Programs
  credentials: Credentials
  firstStart: boolean
}>

/** Brings the data folder to the state of a stopped, complete server with our settings. */
const prepare = async (dataDir: string, options: EmbeddedPostgresOptions): Promise<Prepared> => {
  const dataFolder = dataFolderOf(dataDir)
  const complete = await hasDataFolder(dataFolder, (await programsVersion()).split('.')[0] ?? '')
  const user = await serverUser(dataFolder)
  const programs = await providePrograms(dataDir, user)
  const credentials = await provideCredentials(dataDir, complete)
  const settings = { maxConnections: options.maxConnections ?? 500, durable: options.durable ?? true }
  if (complete) await stopLeftOverServer(dataFolder, programs)
  await removeScratchFolders(dataDir)
  if (complete) await writeSettings(dataFolder, user, settings)
  else {
    const { onLog } = options
    await initialise({ dataDir, dataFolder, programs, user, credentials, settings, onLog })
  }
  return { dataFolder, user, programs, credentials, firstStart: !complete }
}

const startLocked = async (
  dataDir: string,
  lock: FolderLock,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> => {
  const { credentials, firstStart, ...prepared } = await prepare(dataDir, options)
  const socketFolder =
    process.platform === 'win32' ? undefined : await createSocketFolder(dataDir, prepared.user)
  const removeSocket = async (): Promise<void> => {
    if (socketFolder !== undefined) await removeSocketFolder(socketFolder)
  }
  let stopping: Promise<void> | undefined
  try {
    const server = await startServer({ ...prepared, socketFolder, onLog: options.onLog })
    void server.ended.then((reason) => {
      if (stopping === undefined) options.onExit?.(reason)
    })
    const stop = async (): Promise<void> => {
      await server.stop()
      await removeSocket()
      await lock.release()
    }
    return {
      ...addresses(socketFolder ?? '127.0.0.1', server.port, credentials),
      firstStart,
      version: prepared.programs.version,
      stop: () => (stopping ??= stop()),
    }
  } catch (error) {
    await removeSocket()
    throw error
  }
}

/**
 * Starts PostgreSQL on `dataDir/postgres`, making it at the first start, and resolves when it accepts connections.
 * Survives a killed Freehold: an unfinished first start begins anew, a server left running is stopped and started.
 * Throws an OperatorError when another Freehold runs on the folder, or when the folder is not one we can use.
 */
export const startEmbeddedPostgres = async (options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  const dataDir = await openDataDir(options.dataDir)
  const lock = await takeFolderLock(dataDir)
  try {
    return await startLocked(dataDir, lock, options)
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** The addresses of the server that another live Freehold process runs on this dataDir, or undefined. */
export const findRunningEmbeddedPostgres = async (options: {
  dataDir: string
}): Promise<Omit<EmbeddedPostgres, 'stop' | 'firstStart'> | undefined> => {
  const dataDir = await findDataDir(options.dataDir)
  if (dataDir === undefined || !(await isFolderLocked(dataDir))) return undefined
  const dataFolder = dataFolderOf(dataDir)
  const running = await readPostmasterFile(dataFolder)
  const credentials = await readCredentials(dataDir)
  if (running?.ready !== true || credentials === undefined) return undefined
  const windows = process.platform === 'win32'
  if (!windows && !(await isTrustedSocketFolder(running.socketFolder, (await lstat(dataFolder)).uid)))
    return undefined
  const host = windows ? '127.0.0.1' : running.socketFolder
  return { ...addresses(host, running.port, credentials), version: await programsVersion() }
}
