import { createMailedToken } from '../../access/mailed-tokens.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError, isAppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findPersonByEmail, insertPerson, normalizeEmail, type Person } from '../../master/people.ts'
import type { ProvidedIdentity } from '../../oidc/claims.ts'
import type { Provider } from '../../oidc/provider.ts'
import { mailsToOne } from '../auth/limits.ts'
import { linkTo } from '../auth/links.ts'
import { giveMembership, lockInvitation } from '../invitations/answer.ts'
import type { Invitation } from '../invitations/queries.ts'
import { enqueueMail } from '../mail.ts'
import type { ProviderDeps } from './provider-deps.ts'
import { findIdentity, insertIdentity } from './queries.ts'

type Recognised =
  /** The identity that may sign in. */
  | { identityId: string }
  /** Somebody has an account with that address; only its owner can say whether that is the same person. */
  | { owner: Person }
  | { refusal: AppError; personId: string | null }

const disabled = (): AppError =>
  new AppError('forbidden', 'This account is disabled; ask the operator of this service.')

const unproved = (label: string): AppError =>
  new AppError(
    'email_not_verified',
    `${label} does not vouch for your email address; verify it there, or sign up here with a password.`,
  )

const closed = (): AppError =>
  new AppError('forbidden', 'Nobody can sign up here by themselves; ask the operator for an account.')

const forAnother = (): AppError =>
  new AppError(
    'forbidden',
    'This invitation was sent to another address; sign in with the account of that one.',
  )

const taken = (label: string): AppError =>
  new AppError(
    'email_taken',
    `There is an account with your address already. Open the link that we have mailed you to connect ${label} to it, or sign in as before.`,
  )

/** A new account with the names and the proved address that the provider gave; a member where it was invited to. */
const register = async (
  trx: MasterTransaction,
  identity: ProvidedIdentity & { email: string },
  caller: Caller,
  invitation: Invitation | undefined,
): Promise<Recognised> => {
  const { email, firstName, lastName } = identity
  const person = await insertPerson(trx, {
    email,
    firstName: firstName ?? email.slice(0, email.indexOf('@')),
    lastName: lastName ?? null,
    passwordHash: null,
    emailVerified: true,
  })
  const { issuer, subject } = identity
  const identityId = await insertIdentity(trx, person.id, { issuer, subject, email })
  // Connected since we looked: what we have just done must not stand.
  if (identityId === undefined) throw new AppError('email_taken', 'The identity was connected meanwhile.')
  const actor = { kind: 'person', id: person.id } as const
  const account = { type: 'person', id: person.id }
  await writeMasterAudit(trx, { actor, action: 'person.registered', entity: account, caller })
  const entity = { type: 'identity', id: identityId }
  await writeMasterAudit(trx, { actor, action: 'identity.linked', entity, caller })
  if (invitation !== undefined) await giveMembership(trx, invitation, person.id, caller)
  return { identityId }
}

/** Decides by issuer and subject; an address that the provider vouches for opens a new account, never an old one. */
const decide = async (
  trx: MasterTransaction,
  deps: ProviderDeps,
  provider: Provider,
  identity: ProvidedIdentity,
  caller: Caller,
  invitationToken: string | null,
): Promise<Recognised> => {
  const { email, emailVerified } = identity
  // Before the identity: a first sign-in beside this one commits both at once, so who sees its account sees its identity.
  const owner = email === undefined ? undefined : await findPersonByEmail(trx, email)
  const known = await findIdentity(trx, identity)
  if (known !== undefined) {
    if (known.disabled_at === null) return { identityId: known.id }
    return { refusal: disabled(), personId: known.person_id }
  }
  if (email === undefined || !emailVerified) return { refusal: unproved(provider.label), personId: null }
  if (owner !== undefined) return { owner }
  const invited = deps.signUpInvited && invitationToken !== null
  if (!deps.signUpOpen && !invited) return { refusal: closed(), personId: null }
  const invitation = invited ? await lockInvitation(trx, invitationToken) : undefined
  if (invitation !== undefined && invitation.email !== normalizeEmail(email)) {
    return { refusal: forAnother(), personId: null }
  }
  return register(trx, { ...identity, email }, caller, invitation)
}

/** Asks the owner of the address, in a mail, whether the identity is theirs. */
const askOwner = async (
  deps: ProviderDeps,
  provider: Provider,
  owner: Person,
  { issuer, subject }: ProvidedIdentity,
): Promise<void> => {
  if (owner.disabled_at !== null) return
  if (!(await deps.limits.take(mailsToOne, `link-identity ${owner.email}`)).granted) return
  await deps.db.transaction().execute(async (trx) => {
    const { token, expiresAt } = await createMailedToken(trx, {
      purpose: 'link_identity',
      email: owner.email,
      personId: owner.id,
      identity: { issuer, subject },
    })
    const link = linkTo(deps.publicUrl, 'confirmIdentity', token)
    const letter = { kind: 'link-identity', provider: provider.label, link } as const
    await enqueueMail(trx, deps.box, { to: owner.email, letter, expiresAt })
  })
}

/** Two first sign-ins at once: the one that comes second finds what the first one made. */
const decideOnce = async (
  deps: ProviderDeps,
  provider: Provider,
  identity: ProvidedIdentity,
  caller: Caller,
  invitationToken: string | null,
): Promise<Recognised> => {
  const once = (): Promise<Recognised> =>
    deps.db.transaction().execute((trx) => decide(trx, deps, provider, identity, caller, invitationToken))
  try {
    return await once()
  } catch (error) {
    if (!isAppError(error, 'email_taken')) throw error
    return once()
  }
}

export const auditFailedSignIn = (
  deps: ProviderDeps,
  personId: string | null,
  caller: Caller,
): Promise<void> =>
  deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'nobody', id: null },
      action: 'login.failed',
      entity: { type: 'person', id: personId },
      caller,
    }),
  )

/**
 * The identity to sign in with: a known one, or that of a new account, which accepts the invitation of the token. Throws as
 * invitations do, and `forbidden` (disabled, or nobody can sign up),
 * `email_not_verified`, and `email_taken` when the address has an account, which then gets a mail.
 */
export const recognise = async (
  deps: ProviderDeps,
  provider: Provider,
  identity: ProvidedIdentity,
  caller: Caller,
  invitationToken: string | null = null,
): Promise<string> => {
  const found = await decideOnce(deps, provider, identity, caller, invitationToken)
  if ('identityId' in found) return found.identityId
  if ('owner' in found) await askOwner(deps, provider, found.owner, identity)
  await auditFailedSignIn(deps, 'owner' in found ? found.owner.id : found.personId, caller)
  throw 'owner' in found ? taken(provider.label) : found.refusal
}
