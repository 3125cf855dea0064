import { lockSystemUser, startSystemSession, systemTokenSeconds } from '../../access/system-users.ts'
import type { Caller } from '../../http/identity.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import { listMyTenants, type MemberTenant } from '../../master/memberships.ts'
import { findEnterableTenant } from '../auth/place.ts'
import type { ControlDeps } from '../control-deps.ts'

/** A system user with a token for 24 hours. There is no refresh token: the secret is at hand. */
export type SystemSignedIn = Readonly<{
  systemUserId: string
  accessToken: string
  tenants: MemberTenant[]
  chosen: MemberTenant | undefined
}>

/** Whether this is a system user and one of its secrets. */
export const isSystemUser = (
  { db }: Pick<ControlDeps, 'db'>,
  client: { id: string; secret: string },
): Promise<boolean> =>
  db.transaction().execute(async (trx) => (await lockSystemUser(trx, client)) !== undefined)

/**
 * Signs a system user in by id or email and one of its secrets; undefined when they do not fit. With one active tenant
 * that is chosen, as for a person.
 */
export const signInSystemUser = (
  deps: Pick<ControlDeps, 'db' | 'box' | 'tokens'>,
  client: { id: string; secret: string; tenant?: string | undefined },
  caller: Caller,
): Promise<SystemSignedIn | undefined> =>
  deps.db.transaction().execute(async (trx) => {
    const system = await lockSystemUser(trx, client)
    if (system === undefined) return undefined
    const tenants = await listMyTenants(trx, system.id)
    const active = tenants.filter(({ status }) => status === 'active')
    const only = active.length === 1 ? active[0] : undefined
    const chosen =
      client.tenant === undefined ? only : await findEnterableTenant(trx, system.id, client.tenant)
    const tenantId = chosen?.id ?? null
    const { address, userAgent } = caller
    const sessionId = await startSystemSession(trx, deps.box, system, { tenantId, address, userAgent })
    await writeMasterAudit(trx, {
      actor: { kind: 'system', id: system.id },
      action: 'system_user.signed_in',
      entity: { type: 'system_user', id: system.id },
      tenantId,
      caller,
    })
    const flags = { serviceType: system.service_type, seconds: systemTokenSeconds }
    const accessToken = deps.tokens.issue({ personId: system.id, sessionId, tenantId, system: flags })
    return { systemUserId: system.id, accessToken, tenants, chosen }
  })
