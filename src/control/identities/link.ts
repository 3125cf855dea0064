import { endSessionsOf } from '../../access/end-session.ts'
import { dropMailedTokens, type ProviderSubject, spendMailedToken } from '../../access/mailed-tokens.ts'
import type { Caller, Identity } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { type SignInProvider, sameIssuer } from '../../kernel/sign-in-providers.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import type { ProvidedIdentity } from '../../oidc/claims.ts'
import { auditDeadLink, deadLink } from '../auth/email-flows.ts'
import { linkTo } from '../auth/links.ts'
import { verifyEmailOf } from '../auth/queries.ts'
import { enqueueMail, whereaboutsOf } from '../mail.ts'
import type { Purpose } from './flow.ts'
import type { ProviderDeps } from './provider-deps.ts'
import {
  clearWaysIn,
  deleteIdentity,
  findIdentity,
  findOwnIdentity,
  type IdentityRow,
  identitiesOf,
  insertIdentity,
  lockPerson,
} from './queries.ts'
import { readReturnTo } from './return-to.ts'

/** A browser must be at the provider by then. */
const ticketSeconds = 300
/** And the app that began must finish by then. */
const linkCodeSeconds = 60

type Who = Pick<Identity, 'personId' | 'sessionId'>
type Linked = ProviderSubject & { email: string | null }

const ended = (): AppError => new AppError('unauthenticated', 'The session has ended; sign in again.')

const labelOf = (providers: readonly Pick<SignInProvider, 'label' | 'issuer'>[], issuer: string): string =>
  providers.find((provider) => sameIssuer(provider.issuer, issuer))?.label ?? new URL(issuer).host

/**
 * Begins to connect an identity to a signed-in person: the address to send their browser to. It carries who began, and only
 * their session can finish, so it is worth nothing to others, nor is it of use to send it to others. Throws `not_found`,
 * `validation_failed`, `email_not_verified`.
 */
export const beginLink = async (
  deps: ProviderDeps,
  { personId, sessionId }: Who,
  input: { provider: string; returnTo: string },
): Promise<{ url: string; expiresAt: string }> => {
  const provider = deps.providers.find(({ name }) => name === input.provider)
  if (provider === undefined) {
    throw new AppError('not_found', 'There is no such provider here; see GET /auth/config.')
  }
  const returnTo = readReturnTo(input.returnTo, deps.publicUrl, deps.returnOrigins)
  await deps.db.transaction().execute((trx) => mustBeProved(trx, personId))
  const ticket = deps.travellers.send(
    'link-ticket',
    { provider: provider.name, returnTo, personId, sessionId },
    ticketSeconds,
  )
  const expiresAt = new Date(Date.now() + ticketSeconds * 1_000).toISOString()
  return { url: `${deps.publicUrl}/auth/${provider.name}?ticket=${ticket}`, expiresAt }
}

/** What a ticket was given out for. Throws `gone`. */
export const openTicket = (deps: ProviderDeps, provider: string, text: string): Purpose => {
  const ticket = deps.travellers.receive('link-ticket', text) as
    | (Who & { provider: string; returnTo: string })
    | undefined
  if (ticket?.provider !== provider) {
    throw new AppError('gone', 'This address is not good any more; begin to connect your account again.')
  }
  const { returnTo, personId, sessionId } = ticket
  return {
    provider,
    returnTo,
    mode: 'bearer',
    challenge: null,
    invitationToken: null,
    link: { personId, sessionId },
  }
}

/** What the session that began sends to finish. */
export const linkCodeFor = async (
  { travellers }: ProviderDeps,
  who: Who,
  { issuer, subject, email }: ProvidedIdentity,
): Promise<string> =>
  travellers.send('link-code', { ...who, issuer, subject, email: email ?? null }, linkCodeSeconds)

/**
 * An account that nobody has proved to be theirs gets no second way in: whoever made it with a stranger's address would keep
 * it when the stranger takes the account over.
 */
const mustBeProved = async (trx: MasterTransaction, personId: string) => {
  const person = await lockPerson(trx, personId)
  if (person === undefined) throw ended()
  if (person.email_verified_at === null) {
    throw new AppError(
      'email_not_verified',
      'Verify your email address first; POST /auth/email/resend sends a link.',
    )
  }
  return person
}

const tell = async (
  trx: MasterTransaction,
  deps: ProviderDeps,
  event: {
    kind: 'identity-linked' | 'identity-removed'
    person: { id: string; email: string }
    identity: { id: string; issuer: string }
  },
  caller: Caller,
): Promise<void> => {
  const { kind, person, identity } = event
  await writeMasterAudit(trx, {
    actor: { kind: 'person', id: person.id },
    action: kind === 'identity-linked' ? 'identity.linked' : 'identity.removed',
    entity: { type: 'identity', id: identity.id },
    caller,
  })
  const provider = labelOf(deps.providers, identity.issuer)
  const letter = {
    kind,
    provider,
    where: whereaboutsOf(caller),
    link: linkTo(deps.publicUrl, 'forgotPassword'),
  }
  await enqueueMail(trx, deps.box, { to: person.email, letter })
}

/** Connects, audits and tells; the identity's id. Throws `conflict` when it is connected to somebody else. */
const connect = async (
  trx: MasterTransaction,
  deps: ProviderDeps,
  person: { id: string; email: string },
  identity: Linked,
  caller: Caller,
): Promise<string> => {
  const id = await insertIdentity(trx, person.id, identity)
  if (id !== undefined) {
    await tell(
      trx,
      deps,
      { kind: 'identity-linked', person, identity: { id, issuer: identity.issuer } },
      caller,
    )
    return id
  }
  const there = await findIdentity(trx, identity)
  if (there?.person_id === person.id) return there.id
  throw new AppError('conflict', 'It is connected to another account already; disconnect it there first.')
}

/** Finishes what `beginLink` began, for the session that began it. Throws `gone`, `conflict`, `email_not_verified`. */
export const finishLink = async (
  deps: ProviderDeps,
  who: Who,
  code: string,
  caller: Caller,
): Promise<IdentityRow> => {
  const sent = deps.travellers.receive('link-code', code) as (Who & Linked) | undefined
  if (sent === undefined || sent.personId !== who.personId || sent.sessionId !== who.sessionId) {
    throw new AppError(
      'gone',
      'This code has expired or is not for you; begin to connect your account again.',
    )
  }
  const { issuer, subject, email } = sent
  return deps.db.transaction().execute(async (trx) => {
    const person = await mustBeProved(trx, who.personId)
    const id = await connect(trx, deps, person, { issuer, subject, email }, caller)
    const row = await findOwnIdentity(trx, person.id, id)
    if (row === undefined) throw ended()
    return row
  })
}

/**
 * Connects what a link in a mail names: the click of who reads the account's mail is the proof. An account whose address was
 * never proved may be a stranger's work, so its password, sessions and identities go first. Throws `gone`, `conflict`.
 */
export const confirmIdentity = async (
  deps: ProviderDeps,
  token: string,
  caller: Caller,
): Promise<{ email: string }> => {
  const person = await deps.db.transaction().execute(async (trx) => {
    const spent = await spendMailedToken(trx, token, ['link_identity'])
    if (spent === undefined || spent.person_id === null) return undefined
    const owner = await lockPerson(trx, spent.person_id)
    if (owner === undefined || owner.email !== spent.email) return undefined
    if (owner.email_verified_at === null) {
      await clearWaysIn(trx, owner.id)
      await endSessionsOf(trx, owner.id, 'taken_over')
      await dropMailedTokens(trx, owner.id, 'reset_password')
      await dropMailedTokens(trx, owner.id, 'verify_email')
      await verifyEmailOf(trx, owner.id, owner.email)
      await writeMasterAudit(trx, {
        actor: { kind: 'person', id: owner.id },
        action: 'person.taken_over',
        entity: { type: 'person', id: owner.id },
        caller,
      })
    }
    await connect(trx, deps, owner, { ...(spent.identity as ProviderSubject), email: owner.email }, caller)
    return owner
  })
  if (person === undefined) {
    await auditDeadLink(deps, 'link_identity', caller)
    throw deadLink()
  }
  deps.grants.forget(`person:${person.id}`)
  return { email: person.email }
}

/** Disconnects an identity. Throws `not_found`, and `conflict` when it is the last way to sign in. */
export const removeIdentity = async (
  deps: ProviderDeps,
  personId: string,
  id: string,
  caller: Caller,
): Promise<void> => {
  await deps.db.transaction().execute(async (trx) => {
    // Of two that remove the last two at once, the second sees that one is left.
    const person = await lockPerson(trx, personId)
    if (person === undefined) throw ended()
    const all = await identitiesOf(trx, personId)
    const identity = all.find((one) => one.id === id)
    if (identity === undefined) throw new AppError('not_found', 'You have no identity with this id.')
    const works = (issuer: string): boolean =>
      deps.providers.some((provider) => sameIssuer(provider.issuer, issuer))
    const others = all.filter((one) => one.id !== id && works(one.issuer))
    if (person.password_hash === null && others.length === 0) {
      throw new AppError(
        'conflict',
        'This is your only way to sign in; set a password first (POST /auth/password/forgot).',
      )
    }
    await deleteIdentity(trx, id)
    await tell(trx, deps, { kind: 'identity-removed', person, identity }, caller)
  })
}
