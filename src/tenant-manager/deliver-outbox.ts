import { sql } from 'kysely'
import type pg from 'pg'
import { ownerRoleName } from '../kernel/ids.ts'
import type { MasterDb } from '../master/master.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { deliverEntries } from './deliver-entry.ts'
import { deliverLeaving, deliverMember, outdated, readMembers, readRoll } from './deliver-member.ts'
import { inTransaction, quoteName } from './provisioner.ts'

/** Rows told in one transaction: a few tenths of a second. */
const batch = 300

/** One teller at a time in a tenant's database, or what a slower one read earlier would overwrite what a faster one read later. */
export const tellerLock = 20_180_525

export const outboxJobKey = (tenantId: string): string => `tenant-outbox:${tenantId}`

/** Queues the delivery of what waits for the tenant. */
export const wakeOutbox = async (db: MasterDb, tenantId: string): Promise<void> => {
  await sql`select wake_tenant_outbox(${tenantId}::uuid)`.execute(db)
}

type Target = { name: string; clusterId: string }

/** The database that is to be told; undefined when there is nothing to tell, or none that is ready: then a trigger wakes us. */
const findTarget = async (
  { master: { db }, migrations }: Context,
  id: string,
): Promise<Target | undefined> => {
  const row = await db
    .selectFrom('tenant_outbox')
    .leftJoin('tenants', 'tenants.id', 'tenant_outbox.tenant_id')
    .leftJoin('databases', 'databases.id', 'tenants.database_id')
    .select(['tenants.id', 'databases.name', 'databases.cluster_id', 'databases.schema_version'])
    .where('tenant_outbox.tenant_id', '=', id)
    .limit(1)
    .executeTakeFirst()
  if (row === undefined) return undefined
  if (row.id === null) await db.deleteFrom('tenant_outbox').where('tenant_id', '=', id).execute()
  const { name, cluster_id: clusterId, schema_version: version } = row
  if (name === null || clusterId === null || version === null || version < migrations.latest) return undefined
  return { name, clusterId }
}

/** Writes the oldest rows of the outbox into the tenant's database and answers their ids. */
const tell = (db: MasterDb, client: pg.Client, tenantId: string, owner: string): Promise<string[]> =>
  inTransaction(client, async () => {
    await client.query(`set local role ${quoteName(owner)}`)
    await client.query('select pg_advisory_xact_lock($1)', [tellerLock])
    const rows = await db
      .selectFrom('tenant_outbox')
      .select(['id', 'kind', 'ref', 'created_at'])
      .where('tenant_id', '=', tenantId)
      .orderBy('id')
      .limit(batch)
      .execute()
    const refs = (kind: 'audit' | 'member'): string[] => [
      ...new Set(rows.filter((row) => row.kind === kind).map(({ ref }) => ref)),
    ]
    const entryIds = refs('audit')
    const entries =
      entryIds.length === 0
        ? []
        : await db.selectFrom('audit_log').selectAll().where('id', 'in', entryIds).execute()
    const byId = new Map(entries.map((entry) => [entry.id, entry]))
    await deliverEntries(
      client,
      entryIds.flatMap((id) => byId.get(id) ?? []),
    )
    const onRoll = rows.some(({ kind }) => kind === 'roll') ? await readRoll(db, client, tenantId) : []
    for (const { kind, ref, created_at } of rows) {
      if (kind === 'left') await deliverLeaving(client, ref, created_at)
    }
    const states = [
      ...(await readMembers(db, tenantId, refs('member'))),
      ...(await outdated(client, await readMembers(db, tenantId, onRoll))),
    ]
    for (const state of states) await deliverMember(client, state)
    return rows.map(({ id }) => id)
  })

/**
 * Tells a tenant's own database what waits for it in the master's outbox, oldest first: entries of the audit log, and members as
 * they are now. Rows go once the tenant's transaction has committed, so killed anywhere it is told again, and everything is
 * written under its id: it is there once. Goes the provisioner's way, because the tenant may be suspended and a worker
 * has no part in the connection budget. Waits for tenants without a database, or with one that is not migrated yet.
 */
export const deliverOutbox = async (context: Context, tenantId: string): Promise<void> => {
  const { master, box, provisioner } = context
  for (;;) {
    const target = await findTarget(context, tenantId)
    if (target === undefined) return
    const { name } = target
    const cluster = await getCluster(master.db, box, target.clusterId)
    const told = await provisioner.use(
      cluster,
      (client) => tell(master.db, client, tenantId, ownerRoleName(name)),
      name,
    )
    if (told.length > 0) await master.db.deleteFrom('tenant_outbox').where('id', 'in', told).execute()
  }
}
