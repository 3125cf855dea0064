import { sql } from 'kysely'
import { createMailedToken, type PendingRegistration } from '../../access/mailed-tokens.ts'
import type { RateLimits } from '../../access/rate-limits.ts'
import type { Caller } from '../../http/identity.ts'
import type { SecretBox } from '../../kernel/crypto.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findPersonByEmail, type Person } from '../../master/people.ts'
import { keepSealed, takeSealed } from '../../master/sealed-payloads.ts'
import { enqueue } from '../../queue/enqueue.ts'
import { enqueueMail } from '../mail.ts'
import { mailsToOne } from './limits.ts'
import { linkTo } from './links.ts'

/** What somebody asks for with an email address alone. The answer is the same for everybody; the mail is the owner's. */
export type AccountRequest = { email: string; caller: Caller } & (
  | { kind: 'forgot' }
  | { kind: 'resend' }
  | { kind: 'sign-up'; registration: PendingRegistration }
)

type Deps = { db: MasterDb; box: SecretBox; publicUrl: string }

/**
 * Leaves the request to the worker. Nothing is looked up here, so a known address takes exactly the work of an unknown
 * one: no answer and no clock can tell them apart.
 */
export const askInMail = async (
  { db, box, limits }: { db: MasterDb; box: SecretBox; limits: RateLimits },
  request: AccountRequest,
): Promise<void> => {
  // Nobody's mailbox is flooded; the answer does not tell.
  if (!(await limits.take(mailsToOne, `${request.kind} ${request.email}`)).granted) return
  await db.transaction().execute(async (trx) => {
    await enqueue(trx, 'account-request', { payloadId: await keepSealed(trx, box, request) })
  })
}

type Answer<K extends AccountRequest['kind']> = (
  trx: MasterTransaction,
  deps: Deps,
  request: Extract<AccountRequest, { kind: K }>,
  person: Person | undefined,
) => Promise<void>

const answerForgot: Answer<'forgot'> = async (trx, deps, { caller }, person) => {
  await writeMasterAudit(trx, {
    actor: { kind: 'nobody', id: null },
    action: 'password.reset_requested',
    entity: { type: 'person', id: person?.id ?? null },
    caller,
  })
  if (person === undefined || person.disabled_at !== null) return
  const { id: personId, email } = person
  const { token, expiresAt } = await createMailedToken(trx, { purpose: 'reset_password', email, personId })
  const link = linkTo(deps.publicUrl, 'resetPassword', token)
  await enqueueMail(trx, deps.box, { to: email, letter: { kind: 'reset-password', link }, expiresAt })
}

const sendSignUpLink = async (
  trx: MasterTransaction,
  deps: Deps,
  email: string,
  registration: PendingRegistration,
): Promise<void> => {
  const { token, expiresAt } = await createMailedToken(trx, { purpose: 'sign_up', email, registration })
  const link = linkTo(deps.publicUrl, 'verifyEmail', token)
  await enqueueMail(trx, deps.box, { to: email, letter: { kind: 'sign-up', link }, expiresAt })
}

const answerResend: Answer<'resend'> = async (trx, deps, { email }, person) => {
  if (person === undefined) {
    const waiting = await trx
      .selectFrom('mailed_tokens')
      .select('registration')
      .where('purpose', '=', 'sign_up')
      .where('email', '=', email)
      .where('expires_at', '>', sql<Date>`now()`)
      .executeTakeFirst()
    const registration = waiting?.registration as PendingRegistration | null | undefined
    if (registration) await sendSignUpLink(trx, deps, email, registration)
    return
  }
  if (person.disabled_at !== null || person.email_verified_at !== null) return
  const owner = { purpose: 'verify_email', email, personId: person.id } as const
  const { token, expiresAt } = await createMailedToken(trx, owner)
  const link = linkTo(deps.publicUrl, 'verifyEmail', token)
  await enqueueMail(trx, deps.box, { to: email, letter: { kind: 'verify-email', link }, expiresAt })
}

const answerSignUp: Answer<'sign-up'> = async (trx, deps, { email, registration, caller }, person) => {
  await writeMasterAudit(trx, {
    actor: { kind: 'nobody', id: null },
    action: 'person.sign_up_requested',
    entity: { type: 'person', id: person?.id ?? null },
    caller,
  })
  if (person === undefined) return sendSignUpLink(trx, deps, email, registration)
  if (person.disabled_at !== null) return
  const link = linkTo(deps.publicUrl, 'forgotPassword')
  await enqueueMail(trx, deps.box, { to: person.email, letter: { kind: 'account-exists', link } })
}

/** The task `account-request`: answers by mail, or not at all, exactly once. */
export const answerAccountRequest = (deps: Deps, payloadId: string): Promise<void> =>
  deps.db.transaction().execute(async (trx) => {
    const request = (await takeSealed(trx, deps.box, payloadId)) as AccountRequest | undefined
    if (request === undefined) return
    const person = await findPersonByEmail(trx, request.email)
    if (request.kind === 'forgot') await answerForgot(trx, deps, request, person)
    else if (request.kind === 'resend') await answerResend(trx, deps, request, person)
    else await answerSignUp(trx, deps, request, person)
  })
