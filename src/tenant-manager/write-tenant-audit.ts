import type { QueryResult } from 'pg'
import { isUuid, ownerRoleName } from '../kernel/ids.ts'
import type { MasterDb } from '../master/master.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { quoteName } from './provisioner.ts'

const findEntry = (db: MasterDb, id: string) =>
  db
    .selectFrom('audit_log')
    .innerJoin('tenants', 'tenants.id', 'audit_log.tenant_id')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .selectAll('audit_log')
    .select(['databases.name', 'databases.cluster_id'])
    .where('audit_log.id', '=', id)
    .executeTakeFirst()

type Entry = NonNullable<Awaited<ReturnType<typeof findEntry>>>

const toValues = (entry: Entry): unknown[] => [
  entry.id,
  entry.at,
  entry.actor_kind === 'nobody' ? 'system' : entry.actor_kind,
  entry.actor_id,
  entry.action,
  entry.entity_type,
  entry.entity_id !== null && isUuid(entry.entity_id) ? entry.entity_id : null,
  entry.address,
  entry.user_agent,
  entry.request_id,
]

/**
 * Writes an entry of the master's audit log into the audit log of the tenant it speaks of, under the same id: however often
 * it is called, and killed in between, it is there once. Goes the provisioner's way, because the tenant may be suspended
 * and a worker has no part in the connection budget. Does nothing when the tenant has no database any more.
 */
export const writeTenantAudit = async (context: Context, entryId: string): Promise<void> => {
  const { master, box, provisioner } = context
  const entry = await findEntry(master.db, entryId)
  if (entry === undefined) return
  const cluster = await getCluster(master.db, box, entry.cluster_id)
  await provisioner.use(
    cluster,
    async (client): Promise<QueryResult> => {
      await client.query(`set role ${quoteName(ownerRoleName(entry.name))}`)
      return client.query(
        `insert into audit_log (id, at, actor_kind, actor_id, action, entity_type, entity_id, address, user_agent, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do nothing`,
        toValues(entry),
      )
    },
    entry.name,
  )
}
