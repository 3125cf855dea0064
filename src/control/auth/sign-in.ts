import { rememberDevice } from '../../access/known-devices.ts'
import { checkPasswordAt } from '../../access/password-throttle.ts'
import { type IssuedSession, type Proof, type SessionMode, startSession } from '../../access/sessions.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError, isAppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { listMyTenants, type MemberTenant } from '../../master/memberships.ts'
import { findPersonByEmail, type Person } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail, whereaboutsOf } from '../mail.ts'
import { isSystemUser, type SystemSignedIn, signInSystemUser } from '../system-users/sign-in.ts'
import { linkTo } from './links.ts'
import { findEnterableTenant } from './place.ts'
import { lockUnchangedPerson, setPasswordHash } from './queries.ts'

/** What a route needs to answer with a session: the person, their tenants, and the one that was chosen. */
export type SignedIn = {
  person: Person
  issued: IssuedSession
  tenants: MemberTenant[]
  chosen: MemberTenant | undefined
}

/**
 * What every way of signing in ends with: the session, its audit entry, and a mail to the person when they were never seen
 * on such a device before. Call it in the transaction that has made sure of the person.
 */
export const openSession = async (
  trx: MasterTransaction,
  deps: Pick<ControlDeps, 'box' | 'publicUrl'>,
  who: {
    person: Pick<Person, 'id' | 'email'>
    tenantId: string | null
    proofs: readonly [Proof, ...Proof[]]
    /** How its tokens will travel; by hand when it is not said. Then answer with `deliverTokens`. */
    mode?: SessionMode
    caller: Caller
  },
): Promise<IssuedSession> => {
  const { person, tenantId, proofs, mode = 'bearer', caller } = who
  const client = { address: caller.address, userAgent: caller.userAgent }
  const issued = await startSession(trx, deps.box, { id: person.id, tenantId, proofs, mode, ...client })
  await writeMasterAudit(trx, {
    actor: { kind: 'person', id: person.id },
    action: 'session.started',
    entity: { type: 'session', id: issued.sessionId },
    tenantId,
    caller,
  })
  if ((await rememberDevice(trx, person.id, client)) === 'new') {
    const link = linkTo(deps.publicUrl, 'forgotPassword')
    const letter = { kind: 'new-device', where: whereaboutsOf(caller), link } as const
    await enqueueMail(trx, deps.box, { to: person.email, letter })
  }
  return issued
}

const wrong = (): AppError =>
  new AppError('invalid_credentials', 'There is no account with this email address and password.')

const auditFailure = async (
  deps: ControlDeps,
  action: 'login.failed' | 'login.throttled',
  person: Person | undefined,
  caller: Caller,
): Promise<void> => {
  await deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'nobody', id: null },
      action,
      entity: { type: 'person', id: person?.id ?? null },
      caller,
    }),
  )
}

const refuseLogin = async (deps: ControlDeps, person: Person | undefined, caller: Caller): Promise<never> => {
  await auditFailure(deps, 'login.failed', person, caller)
  throw wrong()
}

const noCookies = (): AppError =>
  new AppError(
    'validation_failed',
    'System users have no cookies: sign in without x-auth-mode, or at POST /auth/token, and send the token yourself.',
    { errors: [{ path: '/x-auth-mode', message: 'must not be cookie for a system user' }] },
  )

export type Login = { email: string; password: string; tenant?: string }

/**
 * The person and the hash that the password is right for, or the system user whose secret it is, signed in; undefined when
 * it is wrong, or they may not sign in; system users get no cookies. A secret is looked for whether there is such an address or not.
 */
const proveByPassword = async (
  deps: ControlDeps,
  input: Login & { mode: SessionMode },
  person: Person | undefined,
  caller: Caller,
) => {
  const stored = person?.password_hash ?? null
  const client = { address: caller.address, userAgent: caller.userAgent }
  try {
    return await checkPasswordAt(deps, { email: input.email, personId: person?.id, client }, async () => {
      const matches = await deps.passwords.verify(stored, input.password)
      const may = matches && person !== undefined && stored !== null && person.disabled_at === null
      if (may) return { person, stored }
      const secret = { id: input.email, secret: input.password, tenant: input.tenant }
      // Only who knows the secret learns that there is such a program.
      if (input.mode === 'cookie')
        return (await isSystemUser(deps, secret)) ? 'no cookies for programs' : undefined
      const system = await signInSystemUser(deps, secret, caller)
      return system && { system }
    })
  } catch (error) {
    if (isAppError(error, 'rate_limited')) await auditFailure(deps, 'login.throttled', person, caller)
    throw error
  }
}

const chooseTenant = (
  deps: ControlDeps,
  personId: string,
  tenants: MemberTenant[],
  wanted: string | undefined,
) => {
  if (wanted !== undefined) return findEnterableTenant(deps.db, personId, wanted)
  const active = tenants.filter((tenant) => tenant.status === 'active')
  return active.length === 1 ? active[0] : undefined
}

/**
 * Signs a person in, or a system user by email and secret. Unknown address, wrong password and disabled account get the same answer after the same work.
 * Throws `rate_limited` after too many wrong ones.
 * With exactly one active tenant, that one is chosen.
 */
export const login = async (
  deps: ControlDeps,
  input: Login & { mode: SessionMode },
  caller: Caller,
): Promise<SignedIn | { system: SystemSignedIn }> => {
  const named = await findPersonByEmail(deps.db, input.email)
  const proved = await proveByPassword(deps, input, named, caller)
  if (proved === undefined) return refuseLogin(deps, named, caller)
  if (proved === 'no cookies for programs') throw noCookies()
  if (proved.system !== undefined) return { system: proved.system }
  const { person, stored } = proved
  const better = deps.passwords.isOutdated(stored) ? await deps.passwords.hash(input.password) : undefined
  const tenants = await listMyTenants(deps.db, person.id)
  const chosen = await chooseTenant(deps, person.id, tenants, input.tenant)
  const issued = await deps.db.transaction().execute(async (trx) => {
    // The password may have been changed, and every session ended, since it was checked.
    if (!(await lockUnchangedPerson(trx, person.id, stored))) return undefined
    if (better !== undefined) await setPasswordHash(trx, person.id, better)
    const { mode } = input
    return openSession(trx, deps, { person, tenantId: chosen?.id ?? null, proofs: ['pwd'], mode, caller })
  })
  return issued === undefined ? refuseLogin(deps, person, caller) : { person, issued, tenants, chosen }
}
