import { type Selectable, sql } from 'kysely'
import type pg from 'pg'
import { randomSecret } from '../kernel/crypto.ts'
import { databaseName, newId, ownerRoleName } from '../kernel/ids.ts'
import { sealedFor } from '../master/secrets.ts'
import type { DatabasesTable } from '../master/tables.ts'
import type { Cluster } from './cluster.ts'
import { type Context, databaseLock, roleConnectionLimit } from './context.ts'
import { closeDatabase, createRoles, takeOverObjects } from './database-roles.ts'
import { abandonBuild } from './erase-database.ts'
import { beginOperation, failOperation, operationStep } from './operations.ts'
import { quoteName, sqlState } from './provisioner.ts'
import { ensureTemplate } from './template.ts'

export type DatabaseRow = Selectable<DatabasesTable>

type Build = { row: DatabaseRow; password: string; operationId: string }

/**
 * Builds one database on the cluster and leaves it as a spare; returns its row. While it works it holds the database's
 * lock, so a reconciler on another node lets it be; killed at any point, it leaves a row `building` without a lock, from
 * which the reconciler erases everything. Throws when a step fails; what was made by then is erased.
 */
export const buildDatabase = async (context: Context, cluster: Cluster): Promise<DatabaseRow> => {
  const template = await ensureTemplate(context, cluster)
  const id = newId()
  const lock = await context.locks.tryHold(databaseLock(id))
  if (lock === undefined) throw new Error('the lock of a new database is taken')
  let build: Build | undefined
  try {
    build = await begin(context, cluster, id)
    await makeOnCluster(context, cluster, build, template)
    return await finish(context, build)
  } catch (error) {
    if (build !== undefined) {
      await failOperation(context, build.operationId, error)
      await abandonBuild(context, cluster, build.row)
    }
    throw error
  } finally {
    await lock.release()
  }
}

/** The row comes first: nothing is ever on a cluster that the master has not heard of. */
const begin = (context: Context, cluster: Cluster, id: string): Promise<Build> =>
  context.master.db.transaction().execute(async (trx) => {
    const identity = { id, cluster_id: cluster.id, name: databaseName(id), credential_version: 1 }
    const password = randomSecret()
    const row = await trx
      .insertInto('databases')
      .values({
        ...identity,
        status: 'building',
        secret: context.box.seal(password, sealedFor.databaseSecret(identity)),
        schema_version: context.migrations.latest,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    const subject = { databaseId: id, clusterId: cluster.id }
    const operationId = await beginOperation(trx, 'build', 'roles', subject)
    return { row, password, operationId }
  })

const makeOnCluster = async (
  context: Context,
  cluster: Cluster,
  build: Build,
  template: string,
): Promise<void> => {
  const { name } = build.row
  const step = (next: string): Promise<void> => operationStep(context.master.db, build.operationId, next)
  const settings = { name, password: build.password, connectionLimit: roleConnectionLimit(context) }
  const copyAndClose = async (client: pg.Client, from: string): Promise<void> => {
    await step('create')
    await client.query(
      `create database ${quoteName(name)} template ${quoteName(from)} strategy wal_log owner ${quoteName(ownerRoleName(name))}`,
    )
    await step('close')
    await closeDatabase(client, name)
  }
  try {
    await context.provisioner.use(cluster, async (client) => {
      await createRoles(client, settings, context.installationId)
      await copyAndClose(client, template)
    })
  } catch (error) {
    if (sqlState(error) !== '3D000') throw error
    // Someone dropped the template since this process last saw it.
    const again = await ensureTemplate(context, cluster, true)
    await context.provisioner.use(cluster, (client) => copyAndClose(client, again))
  }
  await step('own')
  await context.provisioner.use(cluster, (client) => takeOverObjects(client, name), name)
}

/** The database becomes a spare, unless someone has meanwhile taken this build for dead. */
const finish = (context: Context, build: Build): Promise<DatabaseRow> =>
  context.master.db.transaction().execute(async (trx) => {
    const row = await trx
      .updateTable('databases')
      .set({ status: 'spare', updated_at: sql<Date>`now()` })
      .where('id', '=', build.row.id)
      .where('status', '=', 'building')
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw new Error('the database was erased while it was built')
    await trx
      .updateTable('operations')
      .set({ status: 'succeeded', step: 'done', updated_at: sql<Date>`now()`, finished_at: sql<Date>`now()` })
      .where('id', '=', build.operationId)
      .execute()
    return row
  })
