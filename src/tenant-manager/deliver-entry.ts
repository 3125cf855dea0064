import type { Selectable } from 'kysely'
import type pg from 'pg'
import { isUuid } from '../kernel/ids.ts'
import type { AuditLogTable } from '../master/tables.ts'

type Entry = Selectable<AuditLogTable>

/** In a tenant's log system users have a kind of their own. */
const actorKindOf = ({ actor_kind, actor_id }: Entry): string => {
  if (actor_kind === 'system' && actor_id !== null) return 'system_user'
  return actor_kind === 'nobody' ? 'system' : actor_kind
}

/** What is no UUID has no place in the column. */
const entityOf = ({ entity_id, details }: Entry): { entityId: string | null; more: unknown } =>
  entity_id === null || isUuid(entity_id)
    ? { entityId: entity_id, more: details }
    : { entityId: null, more: { ...(details as object | null), entityId: entity_id } }

const toValues = (entry: Entry): unknown[] => {
  const { entityId, more } = entityOf(entry)
  return [
    ...[entry.id, entry.at, actorKindOf(entry), entry.actor_id],
    ...[entry.action, entry.entity_type, entityId, more === null ? null : JSON.stringify(more)],
    ...[entry.address, entry.user_agent, entry.request_id],
  ]
}

/**
 * Writes an entry of the master's audit log into the audit log of the tenant that it speaks of, under the same id: however
 * often it is called, it is there once. In the caller's transaction on the tenant's database.
 */
export const deliverEntry = async (client: pg.Client, entry: Entry): Promise<void> => {
  await client.query(
    `insert into audit_log
       (id, at, actor_kind, actor_id, action, entity_type, entity_id, details, address, user_agent, request_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do nothing`,
    toValues(entry),
  )
}
