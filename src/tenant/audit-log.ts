import type { Transaction } from 'kysely'
import type { Caller } from '../http/identity.ts'
import { newId } from '../kernel/ids.ts'
import type { AuditLogTable, TenantTables } from './tables.ts'

/** Who an entry names, as a route's scope says it: `system` with an id is a system user. */
type Who = Readonly<{
  actor: Readonly<{ kind: 'person' | 'platform_admin' | 'system'; id: string }>
  caller: Caller
}>

type Entity = Readonly<{ type: string; id: string }>

/**
 * What else an entry says. `before` and `after`: what the entity was and is, as the API shows it; leave out what is secret
 * or does not matter, it stays for as long as the log.
 */
export type AuditMore = Readonly<{
  before?: Record<string, unknown> | undefined
  after?: Record<string, unknown> | undefined
  details?: Record<string, unknown> | undefined
  /** The workspace it happened in. */
  workspaceId?: string | null
}>

type Actor = Pick<AuditLogTable, 'actor_kind' | 'actor_id'>

const write = async (
  trx: Transaction<TenantTables>,
  actor: Actor,
  {
    caller,
    action,
    entity,
    more,
  }: { caller: Caller | null; action: string; entity: Entity; more: AuditMore },
): Promise<void> => {
  await trx
    .insertInto('audit_log')
    .values({
      id: newId(),
      ...actor,
      action,
      entity_type: entity.type,
      entity_id: entity.id,
      workspace_id: more.workspaceId ?? null,
      before: more.before ?? null,
      after: more.after ?? null,
      details: more.details ?? null,
      address: caller?.address ?? null,
      user_agent: caller?.userAgent ?? null,
      request_id: caller?.requestId ?? null,
    })
    .execute()
}

/** Writes what somebody did into the tenant's own audit log, in the transaction of the change itself. */
export const writeAudit = (
  trx: Transaction<TenantTables>,
  { actor, caller }: Who,
  action: string,
  entity: Entity,
  more: AuditMore = {},
): Promise<void> => {
  const kind = actor.kind === 'system' ? 'system_user' : actor.kind
  return write(trx, { actor_kind: kind, actor_id: actor.id }, { caller, action, entity, more })
}

/** Writes what happened without anybody's request, such as the end of a job, in the transaction in which it happened. */
export const writeSystemAudit = (
  trx: Transaction<TenantTables>,
  action: string,
  entity: Entity,
  more: AuditMore = {},
): Promise<void> =>
  write(trx, { actor_kind: 'system', actor_id: null }, { caller: null, action, entity, more })
