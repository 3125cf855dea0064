import { mustHoldRole } from '../../access/granting.ts'
import { newInvitationToken } from '../../access/invitation-tokens.ts'
import type { MemberScope } from '../../http/guards.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findPersonByEmail, normalizeEmail } from '../../master/people.ts'
import { linkTo } from '../auth/links.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail } from '../mail.ts'
import { inLockedTenant, mustNotStay } from '../members/flows.ts'
import { findMember, findRoleId } from '../members/queries.ts'
import { assertSeat } from '../members/seats.ts'
import {
  closeInvitation,
  findInvitation,
  type Giver,
  hasOpenInvitation,
  type Invitation,
  insertInvitation,
  replaceToken,
} from './queries.ts'

type Deps = Pick<ControlDeps, 'db' | 'box' | 'publicUrl'>
type Who = Pick<MemberScope, 'tenantId' | 'personId' | 'actor' | 'caller'>

const nothing = (): AppError => new AppError('not_found', 'The tenant has no invitation with this id.')

type By = Pick<MasterAuditEntry, 'actor'> & { caller: Caller }

/** Somebody's full name. */
export const nameOf = (person: { first_name: string | null; last_name: string | null }): string =>
  [person.first_name, person.last_name].filter(Boolean).join(' ')

export const auditInvitation = (
  trx: MasterTransaction,
  action: 'created' | 'resent' | 'cancelled' | 'accepted' | 'declined',
  invitation: Pick<Invitation, 'id' | 'tenant_id' | 'role'>,
  by: By,
): Promise<void> =>
  writeMasterAudit(trx, {
    actor: by.actor,
    caller: by.caller,
    action: `invitation.${action}`,
    entity: { type: 'invitation', id: invitation.id },
    tenantId: invitation.tenant_id,
    details: { role: invitation.role },
  })

const mailInvitation = async (
  trx: MasterTransaction,
  { box, publicUrl }: Pick<Deps, 'box' | 'publicUrl'>,
  { email, tenant_name: tenant, giver_first_name, giver_last_name }: Invitation,
  { token, expiresAt }: { token: string; expiresAt: Date },
): Promise<void> => {
  const inviter = nameOf({ first_name: giver_first_name, last_name: giver_last_name })
  const link = linkTo(publicUrl, 'invitation', token)
  await enqueueMail(trx, box, { to: email, letter: { kind: 'invitation', link, tenant, inviter }, expiresAt })
}

/** An invitation by somebody who may give the role, with its mail and audit entry. */
export const createInvitation = async (
  trx: MasterTransaction,
  deps: Pick<Deps, 'box' | 'publicUrl'>,
  wanted: { tenant: { id: string; name: string }; email: string; roleId: string; giver: Giver },
  by: By,
): Promise<Invitation> => {
  const { tenant, email, roleId, giver } = wanted
  const { token, hash } = newInvitationToken()
  const { id, expiresAt } = await insertInvitation(trx, {
    tenantId: tenant.id,
    ...{ email, roleId, giver },
    tokenHash: hash,
  })
  const invitation = present(await findInvitation(trx, id))
  await mailInvitation(trx, deps, invitation, { token, expiresAt })
  await auditInvitation(trx, 'created', invitation, by)
  return invitation
}

/**
 * Invites an address into the tenant. Throws `already_member`, `conflict` when an invitation waits already, `not_found` for
 * a role that there is not, and `forbidden` for one that holds more than the caller does.
 */
export const invite = async (
  deps: Deps,
  who: Who,
  input: { email: string; role: string },
): Promise<Invitation> => {
  const email = normalizeEmail(input.email)
  return inLockedTenant(deps.db, who, 'tenant-api:invitation:create', async (trx, tenant) => {
    const roleId = await findRoleId(trx, tenant.id, input.role)
    await mustHoldRole(trx, who, roleId)
    const person = await findPersonByEmail(trx, email)
    if (person !== undefined) mustNotStay(who, person.id)
    if (person !== undefined && (await findMember(trx, tenant.id, person.id)) !== undefined) {
      throw new AppError('already_member', 'This person is a member of the tenant already.')
    }
    if (await hasOpenInvitation(trx, tenant.id, email)) {
      throw new AppError('conflict', 'An invitation to this address waits already; resend or cancel it.')
    }
    await assertSeat(trx, tenant.id, 'wanted')
    const giver = { personId: who.personId, byPlatform: false }
    return createInvitation(trx, deps, { tenant, email, roleId, giver }, who)
  })
}

const present = (found: Invitation | undefined): Invitation => {
  if (found === undefined) throw new Error('the invitation is not there')
  return found
}

/** An invitation of the tenant that nobody has answered, also one whose time is over. Throws `not_found` and `gone`. */
const findUnanswered = async (trx: MasterTransaction, tenantId: string, id: string): Promise<Invitation> => {
  const invitation = await findInvitation(trx, id)
  if (invitation?.tenant_id !== tenantId) throw nothing()
  if (invitation.status !== 'open') throw new AppError('gone', 'This invitation has ended already.')
  return invitation
}

/** Sends a new link and kills the old one. The caller is its giver from now on, so they must hold the role. */
export const resendInvitation = (deps: Deps, who: Who, id: string): Promise<Invitation> =>
  inLockedTenant(deps.db, who, 'tenant-api:invitation:create', async (trx, tenant) => {
    const { role_id, token_hash } = await findUnanswered(trx, tenant.id, id)
    await mustHoldRole(trx, who, role_id)
    const giver = { personId: who.personId, byPlatform: false }
    const { token, hash } = newInvitationToken()
    const expiresAt = await replaceToken(trx, { id, token_hash }, giver, hash)
    const invitation = present(await findInvitation(trx, id))
    await mailInvitation(trx, deps, invitation, { token, expiresAt })
    await auditInvitation(trx, 'resent', invitation, who)
    return invitation
  })

/** Takes an invitation back. */
export const cancelInvitation = (deps: Deps, who: Who, id: string): Promise<void> =>
  inLockedTenant(deps.db, who, 'tenant-api:invitation:delete', async (trx, tenant) => {
    const invitation = await findUnanswered(trx, tenant.id, id)
    await closeInvitation(trx, id, 'cancelled')
    await auditInvitation(trx, 'cancelled', invitation, who)
  })
