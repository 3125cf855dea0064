import {
  type ClientInfo,
  endSession,
  type IssuedSession,
  rotateSession,
  startSession,
} from '../../access/sessions.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import { listMyTenants, type MemberTenant } from '../../master/memberships.ts'
import { findPersonByEmail, insertPerson, type Person } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { findEnterableTenant } from './place.ts'

const clientInfo = (caller: Caller): ClientInfo => ({ address: caller.address, userAgent: caller.userAgent })

/** What a route needs to answer with a session: the person, their tenants, and the one that was chosen. */
export type SignedIn = {
  person: Person
  issued: IssuedSession
  tenants: MemberTenant[]
  chosen: MemberTenant | undefined
}

export type Registration = { email: string; password: string; firstName: string; lastName?: string }

/** Adds a person and signs them in, in one transaction. Throws `email_taken`, and `forbidden` when sign-up is not open. */
export const register = async (deps: ControlDeps, input: Registration, caller: Caller): Promise<SignedIn> => {
  if (!deps.signUpOpen) {
    throw new AppError('forbidden', 'Nobody can sign up here by themselves; ask the operator for an account.')
  }
  const passwordHash = await deps.passwords.hash(input.password)
  return deps.db.transaction().execute(async (trx) => {
    const person = await insertPerson(trx, {
      email: input.email,
      firstName: input.firstName.trim(),
      lastName: input.lastName?.trim() ?? null,
      passwordHash,
    })
    const issued = await startSession(trx, deps.box, { id: person.id, tenantId: null, ...clientInfo(caller) })
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: person.id },
      action: 'person.registered',
      entity: { type: 'person', id: person.id },
      caller,
    })
    return { person, issued, tenants: [], chosen: undefined }
  })
}

const refuseLogin = async (deps: ControlDeps, person: Person | undefined, caller: Caller): Promise<never> => {
  await deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'nobody', id: null },
      action: 'login.failed',
      entity: { type: 'person', id: person?.id ?? null },
      caller,
    }),
  )
  throw new AppError('invalid_credentials', 'There is no account with this email address and password.')
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

export type Login = { email: string; password: string; tenant?: string }

/**
 * Signs a person in. Unknown address, wrong password and disabled account get the same answer after the same work.
 * With exactly one active tenant, that one is chosen.
 */
export const login = async (deps: ControlDeps, input: Login, caller: Caller): Promise<SignedIn> => {
  const person = await findPersonByEmail(deps.db, input.email)
  const matches = await deps.passwords.verify(person?.password_hash, input.password)
  if (!matches || person === undefined || person.disabled_at !== null)
    return refuseLogin(deps, person, caller)
  const tenants = await listMyTenants(deps.db, person.id)
  const chosen = await chooseTenant(deps, person.id, tenants, input.tenant)
  const issued = await deps.db.transaction().execute(async (trx) => {
    const started = await startSession(trx, deps.box, {
      id: person.id,
      tenantId: chosen?.id ?? null,
      ...clientInfo(caller),
    })
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: person.id },
      action: 'session.started',
      entity: { type: 'session', id: started.sessionId },
      caller,
    })
    return started
  })
  return { person, issued, tenants, chosen }
}

/** Exchanges a refresh token. A reused one has ended its session, and that is committed, before this throws. */
export const refresh = async (
  deps: ControlDeps,
  refreshToken: string,
  caller: Caller,
): Promise<IssuedSession> => {
  const rotation = await deps.db.transaction().execute(async (trx) => {
    const result = await rotateSession(trx, deps.box, refreshToken)
    if (result.outcome === 'reused') {
      await writeMasterAudit(trx, {
        actor: { kind: 'nobody', id: null },
        action: 'session.refresh_token_reused',
        entity: { type: 'session', id: result.sessionId },
        caller,
      })
    }
    return result
  })
  if (rotation.outcome === 'rotated') return rotation.session
  if (rotation.outcome === 'reused') {
    deps.grants.forget(`session:${rotation.sessionId}`)
    throw new AppError(
      'token_reused',
      'This refresh token was used before, so the session was ended; sign in again.',
    )
  }
  throw new AppError('unauthenticated', 'The refresh token is not valid any more; sign in again.')
}

/** Ends the caller's session; its tokens are refused from the answer on. */
export const logout = async (
  deps: ControlDeps,
  who: { sessionId: string; personId: string },
  caller: Caller,
): Promise<void> => {
  await deps.db.transaction().execute(async (trx) => {
    await endSession(trx, who.sessionId, 'logout')
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: who.personId },
      action: 'session.ended',
      entity: { type: 'session', id: who.sessionId },
      caller,
    })
  })
  // The other nodes hear of it from the master; this one does not wait for that.
  deps.grants.forget(`session:${who.sessionId}`)
}
