import { buildDatabase } from './build-database.ts'
import { isAtLeast } from './claim-spare.ts'
import type { Cluster } from './cluster.ts'
import { listClusters } from './cluster.ts'
import { type Context, eachLimited, lifecycleConcurrency } from './context.ts'
import { eraseDatabase, giveUpDatabase } from './erase-database.ts'
import { migrateDatabase, type OldDatabase, oldDatabases } from './migrate-databases.ts'

/**
 * Brings each open shared cluster to its number of usable spares: old ones are migrated, or erased when that fails, and
 * missing ones built. One process at a time per cluster; another one returns at once. A cluster that fails does not keep
 * the others waiting; the first error is thrown at the end.
 */
export const refillSpares = async (context: Context): Promise<void> => {
  const clusters = await listClusters(context.master.db, context.box)
  const shared = clusters.filter((cluster) => cluster.kind === 'shared' && cluster.status === 'open')
  await eachLimited(shared, lifecycleConcurrency, (cluster) => refillCluster(context, cluster))
}

const refillCluster = async (context: Context, cluster: Cluster): Promise<void> => {
  const lock = await context.locks.tryHold(`refill:${cluster.id}`)
  if (lock === undefined) return
  try {
    await renewOldSpares(context, cluster)
    // Again and again until nothing is missing: claims go on while we build.
    for (;;) {
      const missing = context.spareDatabases - (await countSpares(context, cluster))
      if (missing <= 0) return
      await eachLimited(Array.from({ length: missing }), lifecycleConcurrency, async () => {
        await buildDatabase(context, cluster)
      })
    }
  } finally {
    await lock.release()
  }
}

/** How many spares on the cluster a new tenant could be given now. */
export const countSpares = async (context: Context, cluster: Cluster): Promise<number> => {
  const { count } = await context.master.db
    .selectFrom('databases')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .where('cluster_id', '=', cluster.id)
    .where('status', '=', 'spare')
    .where(isAtLeast('schema_version', context.migrations.latest))
    .executeTakeFirstOrThrow()
  return Number(count)
}

const renewOldSpares = async (context: Context, cluster: Cluster): Promise<void> => {
  const old = await oldDatabases(context, ['spare'], cluster.id)
  await eachLimited(old, lifecycleConcurrency, (database) => renew(context, database))
}

/** There is nothing in a spare to lose, so one that can't be migrated is replaced. */
const renew = async (context: Context, database: OldDatabase): Promise<void> => {
  try {
    await migrateDatabase(context, database)
  } catch {
    if (await giveUpDatabase(context, database.id, 'spare')) await eraseDatabase(context, database.id)
  }
}
