import { sql } from 'kysely'
import type { MasterTransaction } from '../master/master.ts'
import { buildDatabase } from './build-database.ts'
import { claimSpare, findFittingClusters, type Wanted } from './claim-spare.ts'
import { type Cluster, getCluster } from './cluster.ts'
import { type Context, tenantLock } from './context.ts'
import { enqueueRefill, type TenantRow } from './create-tenant.ts'
import { failOperation, resumeOperation, succeedOperations } from './operations.ts'

/** Spares that others may snatch from under a pending tenant before its job gives way to a later attempt. */
const maxBuilds = 5

/**
 * Gives a pending tenant its database: claims a spare or builds one, and swaps the deed in one transaction. Does nothing
 * for a tenant that is not pending, or that another process provisions now. Throws when no database could be built.
 */
export const provisionTenant = async (context: Context, tenantId: string): Promise<void> => {
  const lock = await context.locks.tryHold(tenantLock(tenantId))
  if (lock === undefined) return
  try {
    const { db } = context.master
    const tenant = await db.selectFrom('tenants').selectAll().where('id', '=', tenantId).executeTakeFirst()
    if (tenant?.status !== 'pending') return
    const operationId = await resumeOperation(db, 'provision', 'building', { tenantId })
    try {
      await provide(context, tenant)
    } catch (error) {
      await failOperation(context, operationId, error)
      throw error
    }
  } finally {
    await lock.release()
  }
}

const provide = async (context: Context, tenant: TenantRow): Promise<void> => {
  const wanted = {
    region: tenant.region,
    tier: tenant.tier,
    cluster: await wishedCluster(context, tenant.id),
  }
  for (let builds = 0; ; builds += 1) {
    if (await takeSpare(context, tenant.id, wanted)) return
    if (builds === maxBuilds)
      throw new Error('every database built for the tenant was claimed by another one')
    await buildDatabase(context, await clusterFor(context, wanted))
  }
}

/** The commit point: the deed, the status and the journal change together. */
const takeSpare = (context: Context, id: string, wanted: Wanted): Promise<boolean> =>
  context.master.db.transaction().execute(async (trx) => {
    if (!(await isStillPending(trx, id))) return true
    const spare = await claimSpare(trx, wanted, context.migrations.latest)
    if (spare === undefined) return false
    await trx
      .updateTable('tenants')
      .set({ status: 'active', database_id: spare.id, updated_at: sql<Date>`now()` })
      .where('id', '=', id)
      .execute()
    await succeedOperations(trx, 'provision', { tenantId: id })
    await enqueueRefill(trx)
    return true
  })

const isStillPending = async (trx: MasterTransaction, tenantId: string): Promise<boolean> => {
  const row = await trx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', tenantId)
    .where('status', '=', 'pending')
    .forUpdate()
    .executeTakeFirst()
  return row !== undefined
}

/** The name of the cluster that was asked for when the tenant was created, kept in its journal. */
const wishedCluster = async (context: Context, tenantId: string): Promise<string | undefined> => {
  const row = await context.master.db
    .selectFrom('operations')
    .innerJoin('clusters', 'clusters.id', 'operations.cluster_id')
    .select('clusters.name')
    .where('operations.kind', '=', 'provision')
    .where('operations.tenant_id', '=', tenantId)
    .executeTakeFirst()
  return row?.name
}

const clusterFor = async (context: Context, wanted: Wanted): Promise<Cluster> => {
  const [fitting] = await findFittingClusters(context.master.db, wanted)
  if (fitting === undefined) {
    throw new Error(`no open cluster takes tenants of tier ${wanted.tier} in region ${wanted.region}`)
  }
  return getCluster(context.master.db, context.box, fitting.id)
}
