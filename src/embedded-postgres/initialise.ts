import { chown, mkdtemp, rename } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { scramVerifier } from '../kernel/crypto.ts'
import { OperatorError } from '../kernel/errors.ts'
import type { Credentials } from './credentials.ts'
import { removeFolder, type SystemUser, syncFolder } from './files.ts'
import { scratchPrefix } from './left-over.ts'
import type { Programs } from './programs.ts'
import { runProgram } from './run-program.ts'
import { folderArgument } from './server-user.ts'
import { type SettingsOptions, writeSettings } from './settings.ts'

/**
 * The roles, the database of Freehold, and who may connect where; one statement a line. Passwords come as verifiers. The
 * last line fails the whole initialisation if PUBLIC could still connect: a REVOKE can be a mere warning.
 */
const bootstrapSql = (credentials: Credentials): string =>
  [
    `alter role postgres password '${scramVerifier(credentials.postgres)}'`,
    `create role freehold_master login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password '${scramVerifier(credentials.freehold_master)}'`,
    `create role freehold_provisioner login nosuperuser createdb createrole noreplication nobypassrls password '${scramVerifier(credentials.freehold_provisioner)}'`,
    `alter role freehold_provisioner set createrole_self_grant = 'set, inherit'`,
    'create database freehold owner freehold_master template template0',
    'revoke connect, temporary on database freehold, postgres, template1 from public',
    'grant connect on database postgres to freehold_provisioner',
    `do $$ begin if exists (select from unnest(array['freehold', 'postgres', 'template1']) d, unnest(array['connect', 'temporary']) p where has_database_privilege('public', d, p)) then raise exception 'PUBLIC kept a right on a database'; end if; end $$`,
    '',
  ].join('\n')

const initdbArguments = [
  // Nobody can log in until the bootstrap has set the passwords and the access rules are ours.
  ...['-A', 'reject', '-U', 'postgres', '-E', 'UTF8', '--locale=C'],
  ...[
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    '--no-sync',
    '--no-instructions',
  ],
]

export type InitialiseOptions = Readonly<{
  dataDir: string
  /** Where the finished folder goes; must not exist. */
  dataFolder: string
  programs: Programs
  user: SystemUser | undefined
  credentials: Credentials
  settings: SettingsOptions
  onLog?: ((line: string) => void) | undefined
}>

/** `initdb` asks the system for the name of its user; containers run under numbers that have none. */
const requireUserName = (user: SystemUser | undefined): void => {
  if (user !== undefined) return
  try {
    userInfo()
  } catch (error) {
    throw new OperatorError(
      `PostgreSQL needs a name for user ${process.getuid?.()} to make its first databases; add that user to /etc/passwd, or set MASTER_DATABASE_URL to use a server of your own`,
      error,
    )
  }
}

const build = async (folder: string, options: InitialiseOptions): Promise<void> => {
  const { programs, user, credentials, settings, onLog } = options
  const here = await folderArgument(folder, user)
  const run = (program: string, args: string[], input?: string): Promise<void> =>
    runProgram(program, args, { folder, user, onLog, ...(input === undefined ? {} : { input }) })
  await run(programs.initdb, ['-D', here, ...initdbArguments])
  await writeSettings(folder, user, settings)
  // A single-user server: no socket, so nothing can connect before the passwords stand.
  const single = [
    '--single',
    '-D',
    here,
    '-c',
    'exit_on_error=true',
    '-c',
    'logging_collector=off',
    'postgres',
  ]
  await run(programs.postgres, single, bootstrapSql(credentials))
  if (settings.durable) {
    const method = process.platform === 'linux' ? ['--sync-method=syncfs'] : []
    await run(programs.initdb, ['--sync-only', ...method, '-D', here])
  }
}

/**
 * Makes the server's data folder with its roles and the database of Freehold. It appears by one rename, complete and on
 * disk, or not at all.
 */
export const initialise = async (options: InitialiseOptions): Promise<void> => {
  requireUserName(options.user)
  const folder = await mkdtemp(join(options.dataDir, scratchPrefix))
  try {
    if (options.user !== undefined) await chown(folder, options.user.uid, options.user.gid)
    await build(folder, options)
    await rename(folder, options.dataFolder)
    await syncFolder(options.dataDir)
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}
