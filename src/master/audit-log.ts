import { newId } from '../kernel/ids.ts'
import type { MasterTransaction } from './master.ts'

/** Something that happened to an account or to the installation. Details of a tenant's data never belong in it. */
export type MasterAuditEntry = {
  actor: { kind: 'person' | 'operator' | 'system' | 'nobody'; id: string | null }
  action: string
  entity: { type: string; id: string | null }
  caller?: { address: string; userAgent: string | null; requestId: string }
}

/** Writes the entry in the transaction of the change it speaks of. */
export const writeMasterAudit = async (trx: MasterTransaction, entry: MasterAuditEntry): Promise<void> => {
  await trx
    .insertInto('audit_log')
    .values({
      id: newId(),
      actor_kind: entry.actor.kind,
      actor_id: entry.actor.id,
      action: entry.action,
      entity_type: entry.entity.type,
      entity_id: entry.entity.id,
      address: entry.caller?.address ?? null,
      user_agent: entry.caller?.userAgent ?? null,
      request_id: entry.caller?.requestId ?? null,
    })
    .execute()
}
