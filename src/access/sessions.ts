import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterTransaction } from '../master/master.ts'
import { sealedFor } from '../master/secrets.ts'
import { deriveRefreshToken, refreshTokenHash } from './refresh-tokens.ts'

/** A session ends this long after sign-in, however often it is refreshed. */
const lifetimeDays = 30
/** Within this many seconds the immediate predecessor of a refresh token gets the same successor (two tabs, a lost answer). */
const leewaySeconds = 10

export type ClientInfo = { address: string | null; userAgent: string | null }

export type IssuedSession = {
  sessionId: string
  personId: string
  tenantId: string | null
  refreshToken: string
}

/** What presenting a refresh token led to. `reused` has already ended the session; commit it, then refuse. */
export type Rotation =
  | { outcome: 'rotated'; session: IssuedSession }
  | { outcome: 'reused'; sessionId: string; personId: string }
  | { outcome: 'refused' }

const storeToken = async (
  trx: MasterTransaction,
  sessionId: string,
  generation: number,
  token: string,
): Promise<void> => {
  const hash = refreshTokenHash(token)
  if (hash === undefined) throw new Error('a derived refresh token has the wrong shape')
  await trx
    .insertInto('refresh_tokens')
    .values({ token_hash: hash, session_id: sessionId, generation })
    .execute()
}

/** Starts a session for a person who has just proved who they are. */
export const startSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  person: { id: string; tenantId: string | null } & ClientInfo,
): Promise<IssuedSession> => {
  const sessionId = newId()
  const secret = randomBytes(32)
  await trx
    .insertInto('sessions')
    .values({
      id: sessionId,
      person_id: person.id,
      tenant_id: person.tenantId,
      secret: box.seal(secret, sealedFor.session(sessionId)),
      authenticated_by: 'password',
      address: person.address,
      user_agent: person.userAgent?.slice(0, 500) ?? null,
      expires_at: sql<Date>`now() + make_interval(days => ${lifetimeDays})`,
    })
    .execute()
  const refreshToken = deriveRefreshToken(secret, sessionId, 1)
  await storeToken(trx, sessionId, 1, refreshToken)
  return { sessionId, personId: person.id, tenantId: person.tenantId, refreshToken }
}

/** The live session under lock, or undefined when it ended, expired or its person is disabled. */
const lockLiveSession = (trx: MasterTransaction, sessionId: string) =>
  trx
    .selectFrom('sessions')
    .innerJoin('people', 'people.id', 'sessions.person_id')
    .select([
      'sessions.id',
      'sessions.person_id',
      'sessions.tenant_id',
      'sessions.secret',
      'sessions.generation',
      sql<boolean>`sessions.rotated_at > now() - make_interval(secs => ${leewaySeconds})`.as('within_leeway'),
    ])
    .where('sessions.id', '=', sessionId)
    .where('sessions.ended_at', 'is', null)
    .where('sessions.expires_at', '>', sql<Date>`now()`)
    .where('people.disabled_at', 'is', null)
    .forUpdate('sessions')
    .executeTakeFirst()

type LiveSession = NonNullable<Awaited<ReturnType<typeof lockLiveSession>>>

const issue = async (
  trx: MasterTransaction,
  box: SecretBox,
  session: LiveSession,
  generation: number,
  tenantId: string | null,
): Promise<IssuedSession> => {
  const secret = box.open(session.secret, sealedFor.session(session.id))
  const refreshToken = deriveRefreshToken(secret, session.id, generation)
  if (generation !== session.generation) {
    await trx
      .updateTable('sessions')
      .set({ generation, rotated_at: sql<Date>`now()`, tenant_id: tenantId })
      .where('id', '=', session.id)
      .execute()
    await storeToken(trx, session.id, generation, refreshToken)
  }
  return { sessionId: session.id, personId: session.person_id, tenantId, refreshToken }
}

/**
 * Exchanges a refresh token for its one successor. However many present the same token at once, all get the same
 * successor; a token older than the immediate predecessor, or presented after the leeway, ends the session.
 */
export const rotateSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  token: string,
): Promise<Rotation> => {
  const hash = refreshTokenHash(token)
  if (hash === undefined) return { outcome: 'refused' }
  const presented = await trx
    .selectFrom('refresh_tokens')
    .select(['session_id', 'generation'])
    .where('token_hash', '=', hash)
    .executeTakeFirst()
  if (presented === undefined) return { outcome: 'refused' }
  const session = await lockLiveSession(trx, presented.session_id)
  if (session === undefined) return { outcome: 'refused' }
  const age = session.generation - presented.generation
  if (age === 0) {
    const next = await issue(trx, box, session, session.generation + 1, session.tenant_id)
    return { outcome: 'rotated', session: next }
  }
  if (age === 1 && session.within_leeway) {
    return {
      outcome: 'rotated',
      session: await issue(trx, box, session, session.generation, session.tenant_id),
    }
  }
  await endSession(trx, session.id, 'reuse')
  return { outcome: 'reused', sessionId: session.id, personId: session.person_id }
}

/** Sets the chosen tenant of a live session and moves it one generation on; undefined when the session is not live. */
export const switchSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  sessionId: string,
  tenantId: string | null,
): Promise<IssuedSession | undefined> => {
  const session = await lockLiveSession(trx, sessionId)
  return session && issue(trx, box, session, session.generation + 1, tenantId)
}

/** Ends a session; every node refuses its tokens as soon as it hears. Ending one that has ended changes nothing. */
export const endSession = async (
  trx: MasterTransaction,
  sessionId: string,
  reason: 'logout' | 'reuse' | 'disabled',
): Promise<void> => {
  await trx
    .updateTable('sessions')
    .set({ ended_at: sql<Date>`now()`, end_reason: reason })
    .where('id', '=', sessionId)
    .where('ended_at', 'is', null)
    .execute()
}
