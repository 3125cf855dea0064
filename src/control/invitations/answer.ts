import { mustHoldRole } from '../../access/granting.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError, isAppError } from '../../kernel/errors.ts'
import { isUuid } from '../../kernel/ids.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findPerson, type Person } from '../../master/people.ts'
import { lockTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { mustStillHold } from '../members/holding.ts'
import { insertMember } from '../members/queries.ts'
import { assertSeat } from '../members/seats.ts'
import { auditInvitation } from './flows.ts'
import { closeInvitation, findByToken, findInvitation, type Invitation } from './queries.ts'

const unknown = (): AppError =>
  new AppError('not_found', 'There is no such invitation; look for the whole link in the mail.')

const gone = (why: string): AppError => new AppError('gone', `${why}; ask for another one.`)

/** Whoever gave it must be able to give it now: a role is never given by somebody who has lost it. */
const giverMayStill = async (trx: MasterTransaction, invitation: Invitation): Promise<boolean> => {
  const { tenant_id: tenantId, invited_by: personId } = invitation
  const person = personId === null ? undefined : await findPerson(trx, personId)
  if (person === undefined || person.disabled_at !== null) return false
  if (invitation.by_platform) return person.platform_admin
  const giver = { tenantId, personId: person.id }
  try {
    await mustHoldRole(trx, giver, invitation.role_id)
    await mustStillHold(trx, giver, 'tenant-api:invitation:create')
    return true
  } catch (error) {
    if (isAppError(error)) return false
    throw error
  }
}

/** Throws `gone`, or `tenant_suspended`, when nobody can accept this invitation now. */
const mustBeOpen = async (
  trx: MasterTransaction,
  invitation: Invitation,
  replaced: boolean,
): Promise<void> => {
  if (replaced) throw new AppError('gone', 'A newer mail has replaced this invitation; use its link.')
  if (invitation.status !== 'open') throw gone('This invitation was used, declined or taken back')
  if (invitation.expired) throw gone('This invitation has expired')
  // A tenant that is still being built can be joined: its first Admin comes by invitation.
  const { tenant_status } = invitation
  const closed = tenant_status === 'pending' ? undefined : refusalOfStatus(tenant_status)
  if (closed !== undefined) throw closed
  if (!(await giverMayStill(trx, invitation))) {
    throw gone('Whoever sent this invitation may not give this role any more')
  }
}

/** What a link leads to. Throws `not_found` for what is no token, and `gone` for one that is good no more. */
export const viewInvitation = (db: MasterDb, token: string): Promise<Invitation> =>
  db.transaction().execute(async (trx) => {
    const found = await findByToken(trx, token)
    const invitation = found && (await findInvitation(trx, found.id))
    if (found === undefined || invitation === undefined) throw unknown()
    await mustBeOpen(trx, invitation, found.replaced)
    return invitation
  })

/**
 * The open invitation of a token, under the tenant's lock until the transaction ends: nobody else can accept, resend or
 * cancel it, and its giver can't be demoted. Throws as `viewInvitation` does.
 */
export const lockInvitation = async (trx: MasterTransaction, token: string): Promise<Invitation> => {
  const found = await findByToken(trx, token)
  if (found === undefined) throw unknown()
  return lockById(trx, found.id, token)
}

/** Looks again behind the lock: others may have answered, or replaced the token, meanwhile. */
const lockById = async (trx: MasterTransaction, id: string, token?: string): Promise<Invitation> => {
  const before = await findInvitation(trx, id)
  if (before === undefined || (await lockTenant(trx, before.tenant_id)) === undefined) throw unknown()
  const invitation = await findInvitation(trx, id)
  const found = token === undefined ? { replaced: false } : await findByToken(trx, token)
  if (invitation === undefined || found === undefined) throw unknown()
  await mustBeOpen(trx, invitation, found.replaced)
  return invitation
}

/** Makes the person a member with the invitation's role and spends it. Throws `already_member`. */
export const giveMembership = async (
  trx: MasterTransaction,
  invitation: Invitation,
  personId: string,
  caller: Caller,
): Promise<void> => {
  const { id, tenant_id: tenantId, role_id: roleId } = invitation
  if (!(await insertMember(trx, { tenantId, personId, roleId }))) {
    throw new AppError('already_member', 'You are a member of this tenant already.')
  }
  await assertSeat(trx, tenantId, 'taken')
  await closeInvitation(trx, id, 'accepted')
  await auditInvitation(trx, 'accepted', invitation, { actor: { kind: 'person', id: personId }, caller })
}

/** Throws unless the invitation was sent to an address that the person has proved to be theirs. */
const mustBeFor = (invitation: Invitation, person: Person | undefined): void => {
  if (person?.email !== invitation.email) {
    throw new AppError(
      'forbidden',
      'This invitation was sent to another address; sign in with the account of that address.',
    )
  }
  if (person.email_verified_at === null) {
    throw new AppError(
      'email_not_verified',
      'Confirm your email address first; POST /auth/email/resend sends the link again.',
    )
  }
}

/** The open invitation that is meant by a token, or by the id in the person's own list, and is for this person. */
const lockFor = async (trx: MasterTransaction, tokenOrId: string, personId: string): Promise<Invitation> => {
  const person = await findPerson(trx, personId)
  // An id is no secret, so it tells strangers nothing.
  const byId = isUuid(tokenOrId)
  if (byId && (await findInvitation(trx, tokenOrId))?.email !== person?.email) throw unknown()
  const invitation = byId ? await lockById(trx, tokenOrId) : await lockInvitation(trx, tokenOrId)
  mustBeFor(invitation, person)
  return invitation
}

/** Accepts for a signed-in person, once, however many try. Answers the tenant's id. */
export const acceptInvitation = async (
  deps: Pick<ControlDeps, 'db' | 'grants'>,
  tokenOrId: string,
  personId: string,
  caller: Caller,
): Promise<string> => {
  const tenantId = await deps.db.transaction().execute(async (trx) => {
    const invitation = await lockFor(trx, tokenOrId, personId)
    await giveMembership(trx, invitation, personId, caller)
    return invitation.tenant_id
  })
  deps.grants.forget(`membership:${tenantId}:${personId}`)
  return tenantId
}

export const declineInvitation = async (
  deps: Pick<ControlDeps, 'db'>,
  tokenOrId: string,
  personId: string,
  caller: Caller,
): Promise<void> => {
  await deps.db.transaction().execute(async (trx) => {
    const invitation = await lockFor(trx, tokenOrId, personId)
    await closeInvitation(trx, invitation.id, 'declined')
    await auditInvitation(trx, 'declined', invitation, { actor: { kind: 'person', id: personId }, caller })
  })
}
