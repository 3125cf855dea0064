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

const toRow = (entry: Entry) => {
  const { entityId, more } = entityOf(entry)
  return {
    ...{ id: entry.id, at: entry.at, actor_kind: actorKindOf(entry), actor_id: entry.actor_id },
    ...{ action: entry.action, entity_type: entry.entity_type, entity_id: entityId, details: more },
    ...{ address: entry.address, user_agent: entry.user_agent, request_id: entry.request_id },
  }
}

/**
 * Writes entries of the master's audit log into the audit log of the tenant that they speak of, in this order and under the
 * same ids: however often it is called, each is there once. In the caller's transaction on the tenant's database.
 */
export const deliverEntries = async (client: pg.Client, entries: readonly Entry[]): Promise<void> => {
  if (entries.length === 0) return
  await client.query(
    `insert into audit_log
       (id, at, actor_kind, actor_id, action, entity_type, entity_id, details, address, user_agent, request_id)
     select id, at, actor_kind, actor_id, action, entity_type, entity_id, details, address, user_agent, request_id
       from rows from (jsonb_to_recordset($1::jsonb) as (
         id uuid, at timestamptz, actor_kind text, actor_id uuid, action text, entity_type text, entity_id uuid,
         details jsonb, address text, user_agent text, request_id text)) with ordinality as told
      order by ordinality
     on conflict (id) do nothing`,
    [JSON.stringify(entries.map(toRow))],
  )
}
