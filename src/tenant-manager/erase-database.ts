import { type Selectable, sql } from 'kysely'
import { ownerRoleName } from '../kernel/ids.ts'
import type { DatabasesTable } from '../master/tables.ts'
import { type Cluster, getCluster } from './cluster.ts'
import { type Context, databaseLock, ownershipMark } from './context.ts'
import { dropDatabaseAndRoles } from './database-roles.ts'
import { failOperation, resumeOperation, succeedOperations } from './operations.ts'

type DatabaseRow = Selectable<DatabasesTable>

/** From these a database may go straight to `erasing`. A held one must be retired first: someone's data is in it. */
export type Erasable = 'building' | 'spare' | 'retired'

/**
 * Gives the database up: status `erasing`, from which there is no way back. Returns false when it is not in the status
 * `from` any more, or when a tenant holds it.
 */
export const giveUpDatabase = async (
  context: Context,
  databaseId: string,
  from: Erasable,
): Promise<boolean> => {
  const row = await context.master.db
    .updateTable('databases')
    .set({ status: 'erasing', updated_at: sql<Date>`now()` })
    .where('id', '=', databaseId)
    .where('status', '=', from)
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('tenants').select('id').whereRef('database_id', '=', 'databases.id'))),
    )
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Removes a database that was given up: its sessions end, the database and its roles are dropped, its row is deleted.
 * Can be repeated from any point. Does nothing when it is gone already or another process erases it now; throws when the
 * row is not `erasing`, or when the roles on the cluster do not carry this installation's mark.
 */
export const eraseDatabase = async (context: Context, databaseId: string): Promise<void> => {
  const lock = await context.locks.tryHold(databaseLock(databaseId))
  if (lock === undefined) return
  try {
    const row = await context.master.db
      .selectFrom('databases')
      .selectAll()
      .where('id', '=', databaseId)
      .executeTakeFirst()
    if (row === undefined) return
    if (row.status !== 'erasing')
      throw new Error(`database ${row.name} is ${row.status}, so it is not erased`)
    await erase(context, await getCluster(context.master.db, context.box, row.cluster_id), row)
  } finally {
    await lock.release()
  }
}

/** Erases what a failed build made; the caller holds the lock. What it cannot erase now, the reconciler will. */
export const abandonBuild = async (context: Context, cluster: Cluster, row: DatabaseRow): Promise<void> => {
  try {
    await giveUpDatabase(context, row.id, 'building')
    await erase(context, cluster, row)
  } catch (error) {
    context.log.warn({ err: error, database: row.name }, 'a failed build is left for the reconciler')
  }
}

/** The caller holds the database's lock. */
const erase = async (context: Context, cluster: Cluster, row: DatabaseRow): Promise<void> => {
  const { db } = context.master
  const subject = { databaseId: row.id, clusterId: cluster.id }
  const operationId = await resumeOperation(db, 'erase', 'drop', subject)
  try {
    await dropOwned(context, cluster, row.name)
    await db.transaction().execute(async (trx) => {
      await trx.deleteFrom('databases').where('id', '=', row.id).where('status', '=', 'erasing').execute()
      await succeedOperations(trx, 'erase', subject)
    })
  } catch (error) {
    await failOperation(context, operationId, error)
    throw error
  }
}

/** Drops database and roles of this name, once they are proved to be of this installation. */
export const dropOwned = (context: Context, cluster: Cluster, name: string): Promise<void> =>
  context.provisioner.use(cluster, async (client) => {
    const { rows } = await client.query<{ exists: boolean; mark: string | null }>(
      `select exists (select from pg_database where datname = $1)
           or exists (select from pg_roles where rolname in ($1, $2)) as exists,
              (select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $2) as mark`,
      [name, ownerRoleName(name)],
    )
    if (rows[0]?.exists === false) return
    if (rows[0]?.mark !== ownershipMark(context.installationId)) {
      throw new Error(`database ${name} does not carry the mark of this installation, so it is not touched`)
    }
    await dropDatabaseAndRoles(client, name)
  })
