import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { createLogger } from '../src/kernel/log.ts'
import type { PostgresAddress } from '../src/kernel/postgres-address.ts'
import { openMaster } from '../src/master/master.ts'
import { describeTables } from '../src/migrator/describe-tables.ts'
import { migrate } from '../src/migrator/migrate.ts'
import { readMigrationSet } from '../src/migrator/migration-set.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The two sets of migrations and the file that holds the Kysely types of the database each makes. */
export const typeFiles = [
  {
    folder: join(root, 'migrations-master'),
    typeName: 'MasterTables',
    file: join(root, 'src/master/tables.ts'),
  },
  {
    folder: join(root, 'migrations-tenant'),
    typeName: 'TenantTables',
    file: join(root, 'src/tenant/tables.ts'),
  },
] as const

/** The Kysely types of a set, read from a new database that was migrated with it. `superuser` may make databases and roles. */
export const typesOfSet = async (
  superuser: PostgresAddress,
  set: { folder: string; typeName: string },
): Promise<string> => {
  const log = createLogger('silent')
  const database = `types_${crypto.randomUUID().replaceAll('-', '')}`
  const server = openMaster(superuser, log)
  try {
    // What tenant migrations grant to; a cluster has it before any tenant database.
    await server.pool.query(`do $$ begin
      if to_regrole('freehold_tenant') is null then create role freehold_tenant nologin; end if;
    end $$`)
    await server.pool.query(`create database ${database}`)
    const migrated = openMaster({ ...superuser, database }, log)
    const client = await migrated.pool.connect()
    try {
      await migrate(client, await readMigrationSet(set.folder))
      return await describeTables(client, set.typeName)
    } finally {
      client.release()
      await migrated.close()
      await server.pool.query(`drop database ${database} with (force)`)
    }
  } finally {
    await server.close()
  }
}

const writeTypes = async (): Promise<void> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'freehold-types-'))
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false })
  try {
    for (const set of typeFiles) {
      await writeFile(set.file, await typesOfSet(postgres.superuser, set))
      process.stdout.write(`${set.file}\n`)
    }
  } finally {
    await postgres.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

if (import.meta.main) await writeTypes()
