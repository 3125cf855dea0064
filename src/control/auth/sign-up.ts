import { createMailedToken } from '../../access/mailed-tokens.ts'
import type { SessionMode } from '../../access/sessions.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { listMyTenants } from '../../master/memberships.ts'
import { insertPerson, normalizeEmail } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { giveMembership, lockInvitation } from '../invitations/answer.ts'
import { enqueueMail } from '../mail.ts'
import { askInMail } from './account-requests.ts'
import { linkTo } from './links.ts'
import { openSession, type SignedIn } from './sign-in.ts'

export type Registration = { email: string; password: string; firstName: string; lastName?: string }

const closed = (how: string): AppError =>
  new AppError('forbidden', `Nobody can sign up here by themselves; ${how}.`)

/** Throws `forbidden` when they may not sign up, and `validation_failed` for a password that everybody tries first. */
const toRegistration = async (deps: ControlDeps, input: Registration, invited = false) => {
  if (!deps.signUpInvited) throw closed('ask the operator for an account')
  if (!deps.signUpOpen && !invited) throw closed('ask somebody in your team to invite you')
  deps.passwords.mustBeUncommon(input.password, 'password')
  return {
    firstName: input.firstName.trim(),
    lastName: input.lastName?.trim() ?? null,
    passwordHash: await deps.passwords.hash(input.password),
  }
}

const auditRegistered = (trx: MasterTransaction, id: string, caller: Caller): Promise<void> =>
  writeMasterAudit(trx, {
    actor: { kind: 'person', id },
    action: 'person.registered',
    entity: { type: 'person', id },
    caller,
  })

/**
 * Adds the person whom an invitation was sent to: the link in its mail has proved their address. Account, membership,
 * chosen tenant and session are one transaction. Throws `not_found` and `gone` as the invitation does, `forbidden` when it
 * was sent to another address, and `email_taken`.
 */
export const registerInvited = async (
  deps: ControlDeps,
  input: Registration & { mode: SessionMode },
  invitationToken: string,
  caller: Caller,
): Promise<SignedIn> => {
  const { mode } = input
  const registration = await toRegistration(deps, input, true)
  return deps.db.transaction().execute(async (trx) => {
    const invitation = await lockInvitation(trx, invitationToken)
    if (invitation.email !== normalizeEmail(input.email)) {
      throw new AppError('forbidden', 'This invitation was sent to another address; sign up with that one.')
    }
    const person = await insertPerson(trx, { email: input.email, ...registration, emailVerified: true })
    await auditRegistered(trx, person.id, caller)
    await giveMembership(trx, invitation, person.id, caller)
    const tenants = await listMyTenants(trx, person.id)
    const chosen = tenants.find(({ status }) => status === 'active')
    const issued = await openSession(trx, deps, {
      ...{ person, mode, caller },
      tenantId: chosen?.id ?? null,
      proofs: ['pwd'],
    })
    return { person, issued, tenants, chosen }
  })
}

/**
 * Adds a person, signs them in and mails them a link to prove their address, in one transaction. Throws `email_taken`.
 */
export const register = async (
  deps: ControlDeps,
  input: Registration & { mode: SessionMode },
  caller: Caller,
): Promise<SignedIn> => {
  const { mode } = input
  const registration = await toRegistration(deps, input)
  return deps.db.transaction().execute(async (trx) => {
    const person = await insertPerson(trx, { email: input.email, ...registration })
    await auditRegistered(trx, person.id, caller)
    const issued = await openSession(trx, deps, { person, tenantId: null, proofs: ['pwd'], mode, caller })
    const owner = { purpose: 'verify_email', email: person.email, personId: person.id } as const
    const { token, expiresAt } = await createMailedToken(trx, owner)
    const letter = { kind: 'verify-email', link: linkTo(deps.publicUrl, 'verifyEmail', token) } as const
    await enqueueMail(trx, deps.box, { to: person.email, letter, expiresAt })
    return { person, issued, tenants: [], chosen: undefined }
  })
}

/** Takes a sign-up in; whether there will be an account is decided, and told, by mail alone. */
export const requestSignUp = async (
  deps: ControlDeps,
  input: Registration,
  caller: Caller,
): Promise<void> => {
  const registration = await toRegistration(deps, input)
  await askInMail(deps, { kind: 'sign-up', email: normalizeEmail(input.email), registration, caller })
}
