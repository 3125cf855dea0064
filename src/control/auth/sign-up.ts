import { createMailedToken } from '../../access/mailed-tokens.ts'
import type { SessionMode } from '../../access/sessions.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import { insertPerson, normalizeEmail } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail } from '../mail.ts'
import { askInMail } from './account-requests.ts'
import { linkTo } from './links.ts'
import { openSession, type SignedIn } from './sign-in.ts'

export type Registration = { email: string; password: string; firstName: string; lastName?: string }

/** Throws `forbidden` when nobody can sign up, and `validation_failed` for a password that everybody tries first. */
const toRegistration = async (deps: ControlDeps, input: Registration) => {
  if (!deps.signUpOpen) {
    throw new AppError('forbidden', 'Nobody can sign up here by themselves; ask the operator for an account.')
  }
  deps.passwords.mustBeUncommon(input.password, 'password')
  return {
    firstName: input.firstName.trim(),
    lastName: input.lastName?.trim() ?? null,
    passwordHash: await deps.passwords.hash(input.password),
  }
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
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: person.id },
      action: 'person.registered',
      entity: { type: 'person', id: person.id },
      caller,
    })
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
