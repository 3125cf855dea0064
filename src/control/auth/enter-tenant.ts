import { type IssuedSession, switchSession } from '../../access/sessions.ts'
import { enterTenant } from '../../access/tenant-entries.ts'
import type { Caller, Identity } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findAnyTenant, type MemberTenant } from '../../master/memberships.ts'
import type { ControlDeps } from '../control-deps.ts'
import { mailAdmins } from '../members/admins.ts'
import { ended } from './session-flows.ts'

type Tenant = Omit<MemberTenant, 'role'>

/** Any tenant, for a platform admin who is no member of it and says why. Throws what stands in the way. */
export const findTenantToEnter = async (
  db: MasterDb,
  idOrSlug: string,
  reason: string | undefined,
): Promise<Tenant & { reason: string }> => {
  const tenant = await findAnyTenant(db, idOrSlug)
  if (tenant === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
  const closed = refusalOfStatus(tenant.status)
  if (closed !== undefined) throw closed
  if (reason !== undefined) return { ...tenant, reason: reason.trim() }
  const detail =
    'You are no member of this tenant. As a platform admin you may enter it for an hour: say why in "reason"; its Admins are told.'
  throw new AppError('validation_failed', detail, {
    errors: [{ path: '/reason', message: 'is required to enter a tenant without being a member' }],
  })
}

const tellAdmins = async (
  trx: MasterTransaction,
  deps: Pick<ControlDeps, 'box' | 'publicUrl'>,
  tenant: Tenant & { reason: string },
  who: { personId: string; until: Date },
): Promise<void> => {
  const operator = await trx
    .selectFrom('people')
    .select('email')
    .where('id', '=', who.personId)
    .executeTakeFirstOrThrow()
  const letter = {
    kind: 'operator-entered',
    link: `${deps.publicUrl}/console/`,
    tenant: tenant.name,
    operator: operator.email,
    reason: tenant.reason,
    until: who.until.toISOString(),
  } as const
  await mailAdmins(trx, deps, tenant.id, letter)
}

/**
 * Lets a platform admin into a tenant for an hour and sets it as their session's. One transaction with the audit entry
 * (which reaches the tenant's own log too) and the mails to the tenant's Admins. Throws `forbidden` when they are no
 * platform admin any more, `unauthenticated` when the session has ended.
 */
export const enterAsPlatformAdmin = async (
  deps: ControlDeps,
  { personId, sessionId }: Pick<Identity, 'personId' | 'sessionId'>,
  tenant: Tenant & { reason: string },
  caller: Caller,
): Promise<IssuedSession> => {
  const client = { address: caller.address, userAgent: caller.userAgent }
  const issued = await deps.db.transaction().execute(async (trx) => {
    const until = await enterTenant(trx, { tenantId: tenant.id, personId, reason: tenant.reason })
    const session = await switchSession(trx, deps.box, sessionId, tenant.id, client)
    if (session === undefined) throw ended()
    await writeMasterAudit(trx, {
      actor: { kind: 'platform_admin', id: personId },
      action: 'platform_admin.entered_tenant',
      entity: { type: 'tenant', id: tenant.id },
      tenantId: tenant.id,
      details: { reason: tenant.reason, until: until.toISOString() },
      caller,
    })
    await tellAdmins(trx, deps, tenant, { personId, until })
    return session
  })
  deps.grants.forget(`membership:${tenant.id}:${personId}`)
  return issued
}
