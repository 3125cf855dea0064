import { endSession, endSessionsOf } from '../../access/end-session.ts'
import { type IssuedSession, type Presented, rotateSession, switchSession } from '../../access/sessions.ts'
import { type Caller, forged } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findPerson } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail, whereaboutsOf } from '../mail.ts'
import { linkTo } from './links.ts'

/** Whose session, and which. */
type Who = { sessionId: string; personId: string }

/** What the owner and the audit log hear of a refresh token that came twice. */
const reportReuse = async (
  trx: MasterTransaction,
  deps: ControlDeps,
  who: Who,
  caller: Caller,
): Promise<void> => {
  await writeMasterAudit(trx, {
    actor: { kind: 'nobody', id: null },
    action: 'session.refresh_token_reused',
    entity: { type: 'session', id: who.sessionId },
    caller,
  })
  const person = await findPerson(trx, who.personId)
  if (person === undefined) return
  const link = linkTo(deps.publicUrl, 'forgotPassword')
  const letter = { kind: 'token-reused', where: whereaboutsOf(caller), link } as const
  await enqueueMail(trx, deps.box, { to: person.email, letter })
}

/** Exchanges a refresh token. A reused one has ended its session, and that is committed, before this throws. */
export const refresh = async (
  deps: ControlDeps,
  presented: Presented,
  caller: Caller,
): Promise<IssuedSession> => {
  const client = { address: caller.address, userAgent: caller.userAgent }
  const rotation = await deps.db.transaction().execute(async (trx) => {
    const result = await rotateSession(trx, deps.box, presented, client)
    if (result.outcome === 'reused') await reportReuse(trx, deps, result, caller)
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
  if (rotation.outcome === 'forged') throw forged()
  throw new AppError('unauthenticated', 'The refresh token is not valid any more; sign in again.')
}

/** The refusal of what a session was to do that has ended meanwhile. */
export const ended = (): AppError => new AppError('unauthenticated', 'The session has ended; sign in again.')

/** Sets the session's tenant, or none. Throws `unauthenticated` when the session has ended meanwhile. */
export const chooseTenantOf = async (
  deps: ControlDeps,
  who: Who,
  tenantId: string | null,
  caller: Caller,
): Promise<IssuedSession> => {
  const client = { address: caller.address, userAgent: caller.userAgent }
  const issued = await deps.db.transaction().execute(async (trx) => {
    const switched = await switchSession(trx, deps.box, who.sessionId, tenantId, client)
    if (switched !== undefined) {
      await writeMasterAudit(trx, {
        actor: { kind: 'person', id: who.personId },
        action: 'session.tenant_chosen',
        entity: { type: 'tenant', id: tenantId },
        tenantId,
        caller,
      })
    }
    return switched
  })
  if (issued === undefined) throw ended()
  return issued
}

/**
 * Ends one of the caller's sessions, this one or another; its tokens are refused from the answer on. False when the caller
 * has no such session, or not any more.
 */
export const endOwnSession = async (
  deps: ControlDeps,
  who: Who,
  reason: 'logout' | 'revoked',
  caller: Caller,
): Promise<boolean> => {
  const wasAlive = await deps.db.transaction().execute(async (trx) => {
    if (!(await endSession(trx, who.sessionId, reason, who.personId))) return false
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: who.personId },
      action: 'session.ended',
      entity: { type: 'session', id: who.sessionId },
      caller,
    })
    return true
  })
  // The other nodes hear of it from the master; this one does not wait for that.
  deps.grants.forget(`session:${who.sessionId}`)
  return wasAlive
}

/** Ends every session of the caller, this one too. */
export const endAllSessions = async (deps: ControlDeps, personId: string, caller: Caller): Promise<void> => {
  await deps.db.transaction().execute(async (trx) => {
    await endSessionsOf(trx, personId, 'logout')
    await writeMasterAudit(trx, {
      actor: { kind: 'person', id: personId },
      action: 'session.all_ended',
      entity: { type: 'person', id: personId },
      caller,
    })
  })
  deps.grants.forget(`person:${personId}`)
}
