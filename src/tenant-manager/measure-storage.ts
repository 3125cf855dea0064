import { sql } from 'kysely'
import { type Cluster, listClusters } from './cluster.ts'
import type { Context } from './context.ts'

/** Databases measured by one statement: each costs the server a look at some hundred files. */
const atOnce = 100

/** Databases with tenants, one page after another, by name. */
const heldOn = (context: Context, cluster: Cluster, after: string) =>
  context.master.db
    .selectFrom('databases')
    .innerJoin('tenants', 'tenants.database_id', 'databases.id')
    .select(['databases.name', 'tenants.id as tenant_id'])
    .where('databases.cluster_id', '=', cluster.id)
    .where('databases.name', '>', after)
    .orderBy('databases.name')
    .limit(atOnce)
    .execute()

type Held = Awaited<ReturnType<typeof heldOn>>

const sizesOf = (context: Context, cluster: Cluster, held: Held): Promise<Map<string, string>> =>
  context.provisioner.use(cluster, async (client) => {
    const { rows } = await client.query<{ name: string; size: string | null }>(
      'select datname as name, pg_database_size(oid) as size from pg_database where datname = any($1) and datallowconn',
      [held.map(({ name }) => name)],
    )
    return new Map(rows.flatMap(({ name, size }) => (size === null ? [] : [[name, size] as const])))
  })

/** Tells the master; a trigger tells the nodes when a tenant's plan allows no more, or again. */
const keep = async ({ master }: Context, sizes: readonly (readonly [string, string])[]): Promise<void> => {
  await sql`
    insert into tenant_usage as u (tenant_id, storage_bytes)
    select t.id, m.size
      from unnest(${sizes.map(([id]) => id)}::uuid[], ${sizes.map(([, size]) => size)}::bigint[]) as m (tenant_id, size)
      join tenants t on t.id = m.tenant_id
     order by t.id
    on conflict (tenant_id) do update set storage_bytes = excluded.storage_bytes, measured_at = now()`.execute(
    master.db,
  )
}

const measureCluster = async (context: Context, cluster: Cluster): Promise<void> => {
  let after = ''
  for (;;) {
    const held = await heldOn(context, cluster, after)
    const last = held.at(-1)
    if (last === undefined) return
    const sizes = await sizesOf(context, cluster, held)
    const measured = held.flatMap(({ name, tenant_id }) => {
      const size = sizes.get(name)
      return size === undefined ? [] : [[tenant_id, size] as const]
    })
    await keep(context, measured)
    after = last.name
  }
}

/** Measures every tenant's database. One server that is away keeps no other from being measured; then throws what it said. */
export const measureStorage = async (context: Context): Promise<void> => {
  const clusters = await listClusters(context.master.db, context.box)
  const results = await Promise.allSettled(clusters.map((cluster) => measureCluster(context, cluster)))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
