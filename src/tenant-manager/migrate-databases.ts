import { sql } from 'kysely'
import { ownerRoleName } from '../kernel/ids.ts'
import { migrate } from '../migrator/migrate.ts'
import { type Cluster, listClusters } from './cluster.ts'
import { type Context, databaseLock, eachLimited, lifecycleConcurrency } from './context.ts'
import { failOperation, resumeOperation, succeedOperations } from './operations.ts'
import { quoteName } from './provisioner.ts'

const isOlder = (version: string) => sql<boolean>`schema_version collate "C" < ${version}`

export type OldDatabase = { id: string; name: string; cluster: Cluster }

/** Databases of these statuses whose schema is older than the current migrations, on clusters that are not closed. */
export const oldDatabases = async (
  context: Context,
  statuses: readonly ('spare' | 'held')[],
  clusterId?: string,
): Promise<OldDatabase[]> => {
  const clusters = await listClusters(context.master.db, context.box)
  const wanted = new Map(
    clusters
      .filter(({ id }) => clusterId === undefined || id === clusterId)
      .map((cluster) => [cluster.id, cluster]),
  )
  const rows = await context.master.db
    .selectFrom('databases')
    .select(['id', 'name', 'cluster_id'])
    .where('status', 'in', [...statuses])
    .where(isOlder(context.migrations.latest))
    .orderBy('created_at')
    .execute()
  return rows.flatMap(({ id, name, cluster_id }) => {
    const cluster = wanted.get(cluster_id)
    return cluster === undefined ? [] : [{ id, name, cluster }]
  })
}

/**
 * Brings one database to the current schema as its owner, and records it. Does nothing while another process works on
 * the database. Throws when a migration fails; the error stays in the journal and the database at its last good migration.
 */
export const migrateDatabase = async (context: Context, database: OldDatabase): Promise<void> => {
  const lock = await context.locks.tryHold(databaseLock(database.id))
  if (lock === undefined) return
  const { db } = context.master
  const subject = { databaseId: database.id, clusterId: database.cluster.id }
  try {
    const operationId = await resumeOperation(db, 'migrate', 'migrate', subject)
    try {
      await migrateAsOwner(context, database)
      await db.transaction().execute(async (trx) => {
        await trx
          .updateTable('databases')
          .set({ schema_version: context.migrations.latest, updated_at: sql<Date>`now()` })
          .where('id', '=', database.id)
          // A node of a newer release may have recorded more.
          .where(isOlder(context.migrations.latest))
          .execute()
        await succeedOperations(trx, 'migrate', subject)
      })
    } catch (error) {
      await failOperation(context, operationId, error)
      throw error
    }
  } finally {
    await lock.release()
  }
}

const migrateAsOwner = (context: Context, { name, cluster }: OldDatabase): Promise<string[]> =>
  context.provisioner.use(
    cluster,
    async (client) => {
      await client.query(`set role ${quoteName(ownerRoleName(name))}`)
      return migrate(client, context.migrations)
    },
    name,
  )

export type FleetMigration = { migrated: number; failed: number }

/** Migrates every held and spare database that needs it. One that fails does not stop the others. */
export const migrateDatabases = async (context: Context): Promise<FleetMigration> => {
  const old = await oldDatabases(context, ['held', 'spare'])
  let failed = 0
  await eachLimited(old, lifecycleConcurrency, async (database) => {
    try {
      await migrateDatabase(context, database)
    } catch (error) {
      failed += 1
      context.log.error({ err: error, database: database.name }, 'a tenant database could not be migrated')
    }
  })
  return { migrated: old.length - failed, failed }
}
