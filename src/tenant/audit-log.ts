import type { Transaction } from 'kysely'
import type { TenantScope } from '../http/guards.ts'
import { newId } from '../kernel/ids.ts'
import type { TenantTables } from './tables.ts'

/** Writes what a person did into the tenant's own audit log, in the transaction of the change itself. */
export const writeAudit = async (
  trx: Transaction<TenantTables>,
  scope: Pick<TenantScope<TenantTables>, 'personId' | 'caller'>,
  action: string,
  entity: { type: string; id: string },
): Promise<void> => {
  await trx
    .insertInto('audit_log')
    .values({
      id: newId(),
      actor_kind: 'person',
      actor_id: scope.personId,
      action,
      entity_type: entity.type,
      entity_id: entity.id,
      address: scope.caller.address,
      user_agent: scope.caller.userAgent,
      request_id: scope.caller.requestId,
    })
    .execute()
}

/** Writes what happened without anybody's request, such as the end of a job, in the transaction in which it happened. */
export const writeSystemAudit = async (
  trx: Transaction<TenantTables>,
  action: string,
  entity: { type: string; id: string },
): Promise<void> => {
  await trx
    .insertInto('audit_log')
    .values({
      id: newId(),
      actor_kind: 'system',
      actor_id: null,
      action,
      entity_type: entity.type,
      entity_id: entity.id,
      address: null,
      user_agent: null,
      request_id: null,
    })
    .execute()
}
