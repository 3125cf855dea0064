import type { UmzugStorage } from 'umzug'
import { OperatorError } from '../kernel/errors.ts'
import type { Migration, MigrationSet } from './migration-set.ts'

/** The part of a `pg` client that the migrator needs: one session, so that lock and transactions are its own. */
export type MigrationClient = {
  query(sql: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>
}

/** "freehold" in ASCII, cut to 31 bits: one lock per database, held by whoever migrates it. */
const advisoryLock = 0x66726568

const readApplied = async (client: MigrationClient): Promise<Map<string, string>> => {
  await client.query(`create table if not exists freehold_migrations (
    name text primary key, checksum text not null, applied_at timestamptz not null default now())`)
  const { rows } = await client.query('select name, checksum from freehold_migrations order by name')
  return new Map(rows.map((row) => [String(row.name), String(row.checksum)]))
}

const pendingOf = (set: MigrationSet, applied: Map<string, string>): string[] =>
  set.migrations.map((m) => m.name).filter((name) => !applied.has(name))

const refuseChanged = (set: MigrationSet, applied: Map<string, string>): void => {
  const changed = set.migrations.filter((m) => (applied.get(m.name) ?? m.checksum) !== m.checksum)
  if (changed.length === 0) return
  throw new OperatorError(
    changed.map(
      (m) => `migration ${m.name} was changed after it ran here; restore the file and add a new migration`,
    ),
  )
}

/** The migration and its log row are one transaction: killed in between, neither is there. */
const applyOne = async (client: MigrationClient, migration: Migration): Promise<void> => {
  await client.query('begin')
  try {
    await client.query(migration.sql)
    await client.query('insert into freehold_migrations (name, checksum) values ($1, $2)', [
      migration.name,
      migration.checksum,
    ])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

/**
 * Brings one database to the latest migration of `set` and returns the names applied now, in order. Safe to run from
 * many nodes at once (advisory lock) and again after a crash. Migrations the database has and the set does not are left
 * alone, so that the previous release can run beside the next one. Throws OperatorError when an applied file changed.
 */
export const migrate = async (client: MigrationClient, set: MigrationSet): Promise<string[]> => {
  await client.query('select pg_advisory_lock($1)', [advisoryLock])
  try {
    const applied = await readApplied(client)
    refuseChanged(set, applied)
    // Mostly nothing is to be done, and umzug brings a command line along, which takes a twentieth of a start to load.
    if (pendingOf(set, applied).length === 0) return []
    const { Umzug } = await import('umzug')
    const storage: UmzugStorage<MigrationClient> = {
      executed: async () => [...applied.keys()],
      // The row is written by applyOne, inside the migration's own transaction.
      logMigration: async () => {},
      unlogMigration: async () => {
        throw new Error('migrations only go forward')
      },
    }
    const umzug = new Umzug<MigrationClient>({
      migrations: set.migrations.map((m) => ({ name: m.name, up: () => applyOne(client, m) })),
      context: client,
      storage,
      logger: undefined,
    })
    return (await umzug.up()).map((m) => m.name)
  } finally {
    await client.query('select pg_advisory_unlock($1)', [advisoryLock])
  }
}

/** Names of the migrations in `set` that this database does not have yet. Changes nothing but the log table. */
export const pendingMigrations = async (client: MigrationClient, set: MigrationSet): Promise<string[]> => {
  const applied = await readApplied(client)
  return pendingOf(set, applied)
}
