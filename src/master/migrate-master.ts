import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import pg from 'pg'
import { OperatorError } from '../kernel/errors.ts'
import { clientOptions, type PostgresAddress } from '../kernel/postgres-address.ts'
import { migrate, pendingMigrations } from '../migrator/migrate.ts'
import { type MigrationSet, readMigrationSet } from '../migrator/migration-set.ts'
import type { MasterDb } from './master.ts'

const folder = fileURLToPath(new URL('../../migrations-master', import.meta.url))

export const readMasterMigrations = (): Promise<MigrationSet> => readMigrationSet(folder)

/** Why the master can't be reached, for who set its address. Holds no password. */
const explain = ({ host, port, database, user }: PostgresAddress, cause: unknown): string => {
  const { code, message } = cause as { code?: string; message?: string }
  const where = `${database} on ${host}:${port} as ${user}`
  if (code === '28P01' || code === '28000')
    return `The master database ${where} refuses the login; check MASTER_DATABASE_URL`
  if (code === '3D000') return `There is no database ${where}; create it, or correct MASTER_DATABASE_URL`
  return `The master database ${where} cannot be reached (${code ?? message}); check MASTER_DATABASE_URL and the server`
}

const withClient = async <T>(
  address: PostgresAddress,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => {
  const client = new pg.Client({ ...clientOptions(address), application_name: 'freehold migrate' })
  // A lost connection also fails the query under way; without a listener it would end the process.
  client.on('error', () => {})
  await client.connect().catch((cause: unknown) => {
    throw new OperatorError(explain(address, cause), cause)
  })
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Brings the master to the newest schema; returns the names of the migrations applied now. */
export const migrateMaster = async (address: PostgresAddress): Promise<string[]> => {
  const set = await readMasterMigrations()
  return withClient(address, (client) => migrate(client, set))
}

/** Names of the master migrations that are still to run. */
export const pendingMasterMigrations = async (address: PostgresAddress): Promise<string[]> => {
  const set = await readMasterMigrations()
  return withClient(address, (client) => pendingMigrations(client, set))
}

/** True when the master has every migration of this release. */
export const isMasterMigrated = async (db: MasterDb): Promise<boolean> => {
  const set = await readMasterMigrations()
  const applied = await sql<{ name: string }>`select name from freehold_migrations`.execute(db)
  const names = new Set(applied.rows.map((row) => row.name))
  return set.migrations.every((migration) => names.has(migration.name))
}
