import { type RawBuilder, sql } from 'kysely'
import { newId } from '../kernel/ids.ts'
import type { MasterTransaction } from './master.ts'

/** Something that happened to an account or to the installation. Details of a tenant's data never belong in it. */
export type MasterAuditEntry = {
  /**
   * `platform_admin`: a person who acts on a tenant as one, no member of it. `operator`: the command line. `system` with an
   * id: a system user; without one: Freehold itself.
   */
  actor: { kind: 'person' | 'platform_admin' | 'operator' | 'system' | 'nobody'; id: string | null }
  action: string
  entity: { type: string; id: string | null }
  /** The tenant it happened in, or to. The entry is then told to the tenant's own audit log too. */
  tenantId?: string | null
  /** What else took part: ids and names of what the master keeps, such as the permission that a policy got. */
  details?: Readonly<Record<string, string>>
  caller?: { address: string; userAgent: string | null; requestId: string }
}

const toRow = (entry: MasterAuditEntry) => ({
  id: newId(),
  actor_kind: entry.actor.kind,
  actor_id: entry.actor.id,
  action: entry.action,
  entity_type: entry.entity.type,
  entity_id: entry.entity.id,
  tenant_id: entry.tenantId ?? null,
  details: entry.details ?? null,
  address: entry.caller?.address ?? null,
  user_agent: entry.caller?.userAgent ?? null,
  request_id: entry.caller?.requestId ?? null,
})

/** Writes the entry in the transaction of the change it speaks of. */
export const writeMasterAudit = async (trx: MasterTransaction, entry: MasterAuditEntry): Promise<void> => {
  await trx.insertInto('audit_log').values(toRow(entry)).execute()
}

const types: Record<string, string> = { id: 'uuid', actor_id: 'uuid', tenant_id: 'uuid', details: 'jsonb' }

/** The same as a part of the statement that makes the change, for when that changes the one row of `changed` or nothing. */
export const masterAuditOf = (changed: string, entry: MasterAuditEntry): RawBuilder<object> => {
  const row = Object.entries(toRow(entry))
  const columns = row.map(([column]) => sql.ref(column))
  const values = row.map(([column, value]) => sql`${value}::${sql.raw(types[column] ?? 'text')}`)
  return sql`(insert into audit_log (${sql.join(columns)}) select ${sql.join(values)} from ${sql.table(changed)})`
}
