import { endSessionsOf } from '../../access/end-session.ts'
import { rememberDevice } from '../../access/known-devices.ts'
import { dropMailedTokens, isMailedTokenGood, spendMailedToken } from '../../access/mailed-tokens.ts'
import { checkOwnPassword, forgiveDevice } from '../../access/password-throttle.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findPerson } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail, whereaboutsOf } from '../mail.ts'
import { auditDeadLink, deadLink } from './email-flows.ts'
import { linkTo } from './links.ts'
import { lockUnchangedPerson, setPasswordHash, verifyEmailOf } from './queries.ts'

type Person = { id: string; email: string }

/** What every new password brings with it: older links are dead, an audit entry, a mail. */
const concludeChange = async (
  trx: MasterTransaction,
  deps: ControlDeps,
  person: Person,
  action: 'password.changed' | 'password.reset',
  caller: Caller,
): Promise<void> => {
  await dropMailedTokens(trx, person.id, 'reset_password')
  await writeMasterAudit(trx, {
    actor: { kind: 'person', id: person.id },
    action,
    entity: { type: 'person', id: person.id },
    caller,
  })
  const link = linkTo(deps.publicUrl, 'forgotPassword')
  const letter = { kind: 'password-changed', where: whereaboutsOf(caller), link } as const
  await enqueueMail(trx, deps.box, { to: person.email, letter })
}

const refuseChange = async (deps: ControlDeps, personId: string, caller: Caller): Promise<never> => {
  await deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'person', id: personId },
      action: 'password.change_failed',
      entity: { type: 'person', id: personId },
      caller,
    }),
  )
  throw new AppError('invalid_credentials', 'The current password is not right.')
}

/** Changes a signed-in person's password and ends their other sessions. Throws `invalid_credentials`. */
export const changePassword = async (
  deps: ControlDeps,
  who: { personId: string; sessionId: string },
  input: { currentPassword: string; newPassword: string },
  caller: Caller,
): Promise<void> => {
  deps.passwords.mustBeUncommon(input.newPassword, 'newPassword')
  const person = await findPerson(deps.db, who.personId)
  const stored = person?.password_hash ?? null
  const matches = await checkOwnPassword(deps, who.personId, async () =>
    (await deps.passwords.verify(stored, input.currentPassword)) ? true : undefined,
  )
  if (!matches || person === undefined || stored === null) return refuseChange(deps, who.personId, caller)
  const hash = await deps.passwords.hash(input.newPassword)
  const changed = await deps.db.transaction().execute(async (trx) => {
    // Of two changes at once the second one's current password is not right any more.
    if (!(await lockUnchangedPerson(trx, person.id, stored))) return false
    await setPasswordHash(trx, person.id, hash)
    await endSessionsOf(trx, person.id, 'password_changed', who.sessionId)
    await concludeChange(trx, deps, person, 'password.changed', caller)
    return true
  })
  if (!changed) return refuseChange(deps, who.personId, caller)
  deps.grants.forget(`person:${person.id}`)
}

/**
 * Sets a new password with a link from a mail, which also proves the address, and ends every session. Throws `gone` for
 * every link that is good no more, whatever the reason.
 */
export const resetPassword = async (
  deps: ControlDeps,
  input: { token: string; password: string },
  caller: Caller,
): Promise<void> => {
  deps.passwords.mustBeUncommon(input.password, 'password')
  const refuse = async (): Promise<never> => {
    await auditDeadLink(deps, 'reset_password', caller)
    throw deadLink()
  }
  // Nobody gets 30 ms of our time for a made-up token.
  if (!(await isMailedTokenGood(deps.db, input.token, ['reset_password']))) return refuse()
  const client = { address: caller.address, userAgent: caller.userAgent }
  const hash = await deps.passwords.hash(input.password)
  const personId = await deps.db.transaction().execute(async (trx) => {
    const spent = await spendMailedToken(trx, input.token, ['reset_password'])
    if (spent === undefined || spent.person_id === null) return undefined
    const person = { id: spent.person_id, email: spent.email }
    if (!(await verifyEmailOf(trx, person.id, person.email))) return undefined
    await setPasswordHash(trx, person.id, hash)
    await dropMailedTokens(trx, person.id, 'verify_email')
    await endSessionsOf(trx, person.id, 'password_reset')
    // Who can read the owner's mail is let in here, whoever guesses elsewhere.
    await rememberDevice(trx, person.id, client)
    await concludeChange(trx, deps, person, 'password.reset', caller)
    return person.id
  })
  if (personId === undefined) return refuse()
  deps.grants.forget(`person:${personId}`)
  await forgiveDevice(deps, personId, client)
}
