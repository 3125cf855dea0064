import type { IssuedSession, SessionMode } from '../../access/sessions.ts'
import { createSignInCode, spendSignInCode } from '../../access/sign-in-codes.ts'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { listMyTenants } from '../../master/memberships.ts'
import { findPerson } from '../../master/people.ts'
import { openSession, type SignedIn } from '../auth/sign-in.ts'
import type { ProviderDeps } from './provider-deps.ts'
import { lockPersonOf } from './queries.ts'
import { auditFailedSignIn } from './recognise.ts'

const deadCode = (): AppError =>
  new AppError('gone', 'This code was used already, has expired or is not for you; begin the sign-in again.')

/** Opens a session for the person of this identity. With exactly one active tenant, that one is chosen. */
const openSessionFor = async (
  trx: MasterTransaction,
  deps: ProviderDeps,
  identityId: string,
  mode: SessionMode,
  caller: Caller,
): Promise<IssuedSession | undefined> => {
  const person = await lockPersonOf(trx, identityId)
  if (person === undefined) return undefined
  const tenants = await listMyTenants(trx, person.id)
  const active = tenants.filter((tenant) => tenant.status === 'active')
  const tenantId = active.length === 1 ? (active[0]?.id ?? null) : null
  return openSession(trx, deps, { person, tenantId, proofs: ['fed'], mode, caller })
}

const toSignedIn = async (deps: ProviderDeps, issued: IssuedSession | undefined): Promise<SignedIn> => {
  const person = issued && (await findPerson(deps.db, issued.personId))
  if (issued === undefined || person === undefined) throw deadCode()
  const tenants = await listMyTenants(deps.db, person.id)
  return { person, issued, tenants, chosen: tenants.find(({ id }) => id === issued.tenantId) }
}

/** The session of who has just come back as this identity. Throws `gone` when it was removed, or the person disabled, meanwhile. */
export const signInAs = async (
  deps: ProviderDeps,
  identityId: string,
  mode: SessionMode,
  caller: Caller,
): Promise<SignedIn> =>
  toSignedIn(
    deps,
    await deps.db.transaction().execute((trx) => openSessionFor(trx, deps, identityId, mode, caller)),
  )

/** A code for `exchange`. */
export const codeFor = (deps: ProviderDeps, identityId: string, challenge: string | null): Promise<string> =>
  deps.db
    .transaction()
    .execute((trx) =>
      createSignInCode(trx, identityId, challenge === null ? null : Buffer.from(challenge, 'base64url')),
    )

/** Exchanges a code for the session. Throws `gone` for every code that is good no more, whatever the reason. */
export const exchange = async (
  deps: ProviderDeps,
  { code, verifier, mode }: { code: string; verifier?: string; mode: SessionMode },
  caller: Caller,
): Promise<SignedIn> => {
  const issued = await deps.db.transaction().execute(async (trx) => {
    const identityId = await spendSignInCode(trx, code, verifier)
    return identityId === undefined ? undefined : openSessionFor(trx, deps, identityId, mode, caller)
  })
  if (issued === undefined) await auditFailedSignIn(deps, null, caller)
  return toSignedIn(deps, issued)
}
