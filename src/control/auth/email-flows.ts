import {
  createMailedToken,
  type PendingRegistration,
  type Purpose,
  spendMailedToken,
} from '../../access/mailed-tokens.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError, isAppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { insertPerson } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail } from '../mail.ts'
import { linkTo } from './links.ts'
import { verifyEmailOf } from './queries.ts'

export const deadLink = (): AppError =>
  new AppError('gone', 'This link was used already, has expired or was replaced; ask for a new one.')

const failures: Record<Purpose, string> = {
  sign_up: 'email.verify_failed',
  verify_email: 'email.verify_failed',
  reset_password: 'password.reset_failed',
  link_identity: 'identity.link_failed',
}

/** Notes that somebody came with a link that is good for nothing (any more). */
export const auditDeadLink = (deps: ControlDeps, purpose: Purpose, caller: Caller): Promise<void> =>
  deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'nobody', id: null },
      action: failures[purpose],
      entity: { type: 'person', id: null },
      caller,
    }),
  )

type Verified = { email: string; next: 'sign_in' | 'choose_password' }

/** The account that waited for its address. Its password is taken unless others had signed up with the address too. */
const openAccount = async (
  trx: MasterTransaction,
  deps: ControlDeps,
  signUp: { email: string; registration: PendingRegistration; contested: boolean },
  caller: Caller,
): Promise<Verified> => {
  const { email, registration, contested } = signUp
  const { firstName, lastName } = registration
  const passwordHash = contested ? null : registration.passwordHash
  const person = await insertPerson(trx, { email, firstName, lastName, passwordHash, emailVerified: true })
  await writeMasterAudit(trx, {
    actor: { kind: 'person', id: person.id },
    action: 'person.registered',
    entity: { type: 'person', id: person.id },
    caller,
  })
  if (!contested) return { email, next: 'sign_in' }
  const owner = { purpose: 'reset_password', email, personId: person.id } as const
  const { token, expiresAt } = await createMailedToken(trx, owner)
  const link = linkTo(deps.publicUrl, 'resetPassword', token)
  await enqueueMail(trx, deps.box, { to: email, letter: { kind: 'choose-password', link }, expiresAt })
  return { email, next: 'choose_password' }
}

const proveAddress = async (
  trx: MasterTransaction,
  person: { id: string; email: string },
  caller: Caller,
): Promise<Verified> => {
  if (!(await verifyEmailOf(trx, person.id, person.email))) throw deadLink()
  await writeMasterAudit(trx, {
    actor: { kind: 'person', id: person.id },
    action: 'email.verified',
    entity: { type: 'person', id: person.id },
    caller,
  })
  return { email: person.email, next: 'sign_in' }
}

/**
 * Spends a link that proves an address: of an account, or of a sign-up that becomes one now. Throws `gone` for every link
 * that is good no more, whatever the reason.
 */
export const verifyEmail = async (deps: ControlDeps, token: string, caller: Caller): Promise<Verified> => {
  try {
    return await deps.db.transaction().execute(async (trx) => {
      const spent = await spendMailedToken(trx, token, ['verify_email', 'sign_up'])
      if (spent === undefined) throw deadLink()
      const { email, person_id: id, registration, contested } = spent
      if (id !== null) return proveAddress(trx, { id, email }, caller)
      const signUp = { email, registration: registration as PendingRegistration, contested }
      return openAccount(trx, deps, signUp, caller)
    })
  } catch (error) {
    // Somebody got an account with this address by another way.
    const dead = isAppError(error, 'gone') || isAppError(error, 'email_taken')
    if (!dead) throw error
    await auditDeadLink(deps, 'verify_email', caller)
    throw deadLink()
  }
}
