import type { Selectable } from 'kysely'
import type pg from 'pg'
import { isUuid } from '../kernel/ids.ts'
import type { AuditLogTable } from '../master/tables.ts'

type Entry = Selectable<AuditLogTable>

const actorKinds = {
  person: 'person',
  platform_admin: 'operator',
  operator: 'operator',
  system: 'system',
  nobody: 'system',
} as const

const toValues = (entry: Entry): unknown[] => [
  entry.id,
  entry.at,
  actorKinds[entry.actor_kind],
  entry.actor_id,
  entry.action,
  entry.entity_type,
  entry.entity_id !== null && isUuid(entry.entity_id) ? entry.entity_id : null,
  entry.address,
  entry.user_agent,
  entry.request_id,
]

/**
 * Writes an entry of the master's audit log into the audit log of the tenant that it speaks of, under the same id: however
 * often it is called, it is there once. In the caller's transaction on the tenant's database.
 */
export const deliverEntry = async (client: pg.Client, entry: Entry): Promise<void> => {
  await client.query(
    `insert into audit_log (id, at, actor_kind, actor_id, action, entity_type, entity_id, address, user_agent, request_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do nothing`,
    toValues(entry),
  )
}
