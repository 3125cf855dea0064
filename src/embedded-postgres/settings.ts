import { totalmem } from 'node:os'
import { join } from 'node:path'
import { readSmallFile, type SystemUser, writeFileDurably } from './files.ts'

export type SettingsOptions = Readonly<{ maxConnections: number; durable: boolean }>

/** An eighth of the memory we may use, at most 256 MB: enough for catalogs and hot pages beside Node on a small machine. */
const sharedBuffers = (): string => {
  const megabytes = Math.floor(Math.min(totalmem(), process.constrainedMemory() || totalmem()) / 8 / 2 ** 20)
  return `${Math.min(256, Math.max(32, megabytes))}MB`
}

const settings = ({ maxConnections, durable }: SettingsOptions): Record<string, string | number> => ({
  max_connections: maxConnections,
  superuser_reserved_connections: 5,
  password_encryption: 'scram-sha-256',
  authentication_timeout: '10s',
  shared_buffers: sharedBuffers(),
  // The machine code compiler is not among the programs we carry.
  jit: 'off',

  // A statement whose client has died ends soon: its connection is in nobody's budget any more. Not known on Windows.
  ...(process.platform === 'win32' ? {} : { client_connection_check_interval: '500ms' }),

  // Moves copy a tenant's database by logical replication.
  wal_level: 'logical',
  max_wal_senders: 10,
  max_replication_slots: 20,
  // A forgotten replication slot must not fill the disk.
  max_slot_wal_keep_size: '16GB',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // By default recovery opens every file: two minutes for 3,000 databases; this way two seconds.
  ...(process.platform === 'linux' ? { recovery_init_sync_method: 'syncfs' } : {}),
  // One autovacuum worker is started per database in this time: 3,000 databases would mean 50 a second at the usual minute.
  autovacuum_naptime: '5min',
  ...(durable ? {} : { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' }),

  // A week of logs in the data folder. Statements and the details of errors hold tenants' data and secrets: not logged.
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: 'postgresql-%a.log',
  log_file_mode: '0600',
  log_truncate_on_rotation: 'on',
  log_rotation_age: '1d',
  log_rotation_size: 0,
  log_line_prefix: '%m [%p] ',
  log_min_messages: 'warning',
  log_error_verbosity: 'terse',
  log_statement: 'none',
  log_min_error_statement: 'panic',
  log_min_duration_statement: -1,
  log_checkpoints: 'off',

  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
  default_text_search_config: 'pg_catalog.english',
})

const settingsText = (options: SettingsOptions): string =>
  [
    '# Freehold writes this file at every start. Change a setting with: alter system set ... (as role postgres)',
    ...Object.entries(settings(options)).map(([name, value]) => `${name} = '${value}'`),
    '',
  ].join('\n')

/**
 * Who may connect to what, always with a password, first match decides. A tenant's role reaches only the database of its
 * own name: a second wall that stands even if a database's CONNECT was left open. No line allows physical replication.
 */
const accessRules = (connection: 'local' | 'host', from: string): string =>
  [
    '# Freehold writes this file at every start.',
    ...[
      'all       postgres              scram-sha-256',
      'freehold  freehold_master       scram-sha-256',
      'freehold  all                   reject',
      'all       freehold_master       reject',
      'all       freehold_provisioner  scram-sha-256',
      'sameuser  all                   scram-sha-256',
      'all       all                   reject',
    ].map((rule) => {
      const [database, user, method] = rule.split(/ +/)
      return [connection, database, user, ...(from === '' ? [] : [from]), method].join(' ')
    }),
    '',
  ].join('\n')

/** Brings the server's files up to date with this version of Freehold and these options. Writes only what differs. */
export const writeSettings = async (
  dataFolder: string,
  owner: SystemUser | undefined,
  options: SettingsOptions,
): Promise<void> => {
  const files = {
    'postgresql.conf': settingsText(options),
    'pg_hba.conf':
      process.platform === 'win32' ? accessRules('host', '127.0.0.1/32') : accessRules('local', ''),
    'pg_ident.conf': '',
  }
  for (const [name, text] of Object.entries(files)) {
    const path = join(dataFolder, name)
    if ((await readSmallFile(path)) !== text) await writeFileDurably(path, text, { mode: 0o600, owner })
  }
}
