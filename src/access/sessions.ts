import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { sealedFor } from '../master/secrets.ts'
import { csrfTokenHash, deriveCsrfToken, isCsrfToken } from './csrf-tokens.ts'
import { endSession } from './end-session.ts'
import { deriveRefreshToken, refreshTokenHash } from './refresh-tokens.ts'

/** A session ends this long after sign-in, however often it is refreshed. */
const lifetimeDays = 30
/** And this long after its last refresh. Longer than any access token lives, so only a refresh has to look at it. */
const idleDays = 14
/** Seconds that a refresh token is good for when nobody uses it. */
export const idleSeconds = idleDays * 86_400
/** Within this many seconds the immediate predecessor of a refresh token gets the same successor (two tabs, a lost answer). */
const leewaySeconds = 10

export type ClientInfo = { address: string | null; userAgent: string | null }

/** How people prove who they are, in the words of RFC 8176 where it has one: `fed` is another provider's word. */
export type Proof = 'pwd' | 'otp' | 'hwk' | 'fed'

/**
 * How the tokens of a session travel: sent by hand, or in cookies that no script can read. A session is opened for one of
 * the two and its tokens are good for that one alone.
 */
export type SessionMode = 'bearer' | 'cookie'

export type IssuedSession = {
  sessionId: string
  personId: string
  tenantId: string | null
  refreshToken: string
  /** Of a session in cookies; null for the others. */
  csrfToken: string | null
}

/**
 * A refresh token and the way it came. With cookies, a CSRF token may come along: then it has to be the session's, so that a
 * page which still thinks of another session learns that it is not there any more.
 */
export type Presented = { token: string; mode: SessionMode; csrfToken?: string | undefined }

/**
 * What presenting a refresh token led to. `reused` has already ended the session; commit it, then refuse. `forged`: it is
 * good, but came with a CSRF token of another session.
 */
export type Rotation =
  | { outcome: 'rotated'; session: IssuedSession }
  | { outcome: 'reused'; sessionId: string; personId: string }
  | { outcome: 'refused' }
  | { outcome: 'forged' }

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

const clientColumns = ({ address, userAgent }: ClientInfo) => ({
  address,
  user_agent: userAgent?.slice(0, 500) ?? null,
})

const idleFromNow = () => sql<Date>`now() + make_interval(days => ${idleDays})`

/**
 * Starts a session for a person who has just given these proofs of who they are, in this order; `pwd` when none are named.
 * Its tokens are sent by hand, unless `mode` says otherwise.
 */
export const startSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  person: {
    id: string
    tenantId: string | null
    proofs?: readonly [Proof, ...Proof[]]
    mode?: SessionMode
  } & ClientInfo,
): Promise<IssuedSession> => {
  const sessionId = newId()
  const secret = randomBytes(32)
  const csrfToken = person.mode === 'cookie' ? deriveCsrfToken(secret, sessionId) : null
  await trx
    .insertInto('sessions')
    .values({
      id: sessionId,
      person_id: person.id,
      tenant_id: person.tenantId,
      secret: box.seal(secret, sealedFor.session(sessionId)),
      csrf_hash: csrfToken === null ? null : csrfTokenHash(csrfToken),
      amr: [...(person.proofs ?? ['pwd'])],
      ...clientColumns(person),
      expires_at: sql<Date>`now() + make_interval(days => ${lifetimeDays})`,
      idle_expires_at: idleFromNow(),
    })
    .execute()
  const refreshToken = deriveRefreshToken(secret, sessionId, 1)
  await storeToken(trx, sessionId, 1, refreshToken)
  return { sessionId, personId: person.id, tenantId: person.tenantId, refreshToken, csrfToken }
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
      'sessions.csrf_hash',
      'sessions.generation',
      // Within the leeway, what was good before the last refresh is good still.
      sql<number>`case when sessions.rotated_at > now() - make_interval(secs => ${leewaySeconds})
        then sessions.oldest_good_before else sessions.oldest_good end`.as('oldest_good'),
    ])
    .where('sessions.id', '=', sessionId)
    .where('sessions.ended_at', 'is', null)
    .where('sessions.expires_at', '>', sql<Date>`now()`)
    .where('sessions.idle_expires_at', '>', sql<Date>`now()`)
    .where('people.disabled_at', 'is', null)
    .forUpdate('sessions')
    .executeTakeFirst()

type LiveSession = NonNullable<Awaited<ReturnType<typeof lockLiveSession>>>

const secretOf = (box: SecretBox, session: { id: string; secret: Buffer }): Buffer =>
  box.open(session.secret, sealedFor.session(session.id))

/** The session's token of one of its generations, given again or for the first time. */
const tokenOf = (box: SecretBox, session: LiveSession, generation: number): string =>
  deriveRefreshToken(secretOf(box, session), session.id, generation)

const issued = (
  box: SecretBox,
  session: LiveSession,
  tenantId: string | null,
  refreshToken: string,
): IssuedSession => ({
  sessionId: session.id,
  personId: session.person_id,
  tenantId,
  refreshToken,
  csrfToken: session.csrf_hash === null ? null : deriveCsrfToken(secretOf(box, session), session.id),
})

/** Whose session in cookies this refresh token is of, spent or not; undefined when it is of none. */
export const findCookieSession = async (
  db: MasterDb,
  token: string,
): Promise<{ sessionId: string; personId: string } | undefined> => {
  const hash = refreshTokenHash(token)
  if (hash === undefined) return undefined
  return db
    .selectFrom('refresh_tokens')
    .innerJoin('sessions', 'sessions.id', 'refresh_tokens.session_id')
    .select(['sessions.id as sessionId', 'sessions.person_id as personId'])
    .where('refresh_tokens.token_hash', '=', hash)
    .where('sessions.csrf_hash', 'is not', null)
    .executeTakeFirst()
}

/** The CSRF token of a session in cookies, given again; null for other sessions. */
export const readCsrfToken = async (
  db: MasterDb,
  box: SecretBox,
  sessionId: string,
): Promise<string | null> => {
  const session = await db
    .selectFrom('sessions')
    .select(['id', 'secret'])
    .where('id', '=', sessionId)
    .where('csrf_hash', 'is not', null)
    .executeTakeFirst()
  return session === undefined ? null : deriveCsrfToken(secretOf(box, session), session.id)
}

/** Makes the next generation's token and answers it. `spent`: all before it are, but for the leeway. */
const advance = async (
  trx: MasterTransaction,
  box: SecretBox,
  session: LiveSession,
  { spent }: { spent: boolean },
): Promise<string> => {
  const generation = session.generation + 1
  const token = tokenOf(box, session, generation)
  await trx
    .updateTable('sessions')
    .set({ generation })
    .$if(spent, (query) =>
      query.set({
        rotated_at: sql<Date>`now()`,
        oldest_good: generation,
        oldest_good_before: sql<number>`oldest_good`,
      }),
    )
    .where('id', '=', session.id)
    .execute()
  await storeToken(trx, session.id, generation, token)
  return token
}

const touch = async (trx: MasterTransaction, sessionId: string, client: ClientInfo): Promise<void> => {
  await trx
    .updateTable('sessions')
    .set({ last_used_at: sql<Date>`now()`, idle_expires_at: idleFromNow(), ...clientColumns(client) })
    .where('id', '=', sessionId)
    .execute()
}

/**
 * Exchanges a refresh token for its one successor, if it came the way its session was opened for. However many present the same token at once, all get the same
 * successor; a token that was spent longer ago than the leeway, or before that, ends the session.
 */
export const rotateSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  { token, mode, csrfToken }: Presented,
  client: ClientInfo,
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
  const csrfHash = session.csrf_hash
  if ((csrfHash !== null) !== (mode === 'cookie')) return { outcome: 'refused' }
  if (csrfHash !== null && csrfToken !== undefined && !isCsrfToken(csrfToken, csrfHash)) {
    return { outcome: 'forged' }
  }
  if (presented.generation < session.oldest_good) {
    await endSession(trx, session.id, 'reuse')
    return { outcome: 'reused', sessionId: session.id, personId: session.person_id }
  }
  await touch(trx, session.id, client)
  // Whoever holds an older one that is good gets the newest: it was handed out, but maybe not to them.
  const isNewest = presented.generation === session.generation
  const next = isNewest
    ? await advance(trx, box, session, { spent: true })
    : tokenOf(box, session, session.generation)
  return { outcome: 'rotated', session: issued(box, session, session.tenant_id, next) }
}

/**
 * Sets the chosen tenant of a live session and answers a new refresh token; undefined when the session is not live. A
 * switch is called with an access token, so it can't say which refresh token its caller holds, and other tabs may be
 * refreshing with theirs: the new token spends nothing until it is presented itself.
 */
export const switchSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  sessionId: string,
  tenantId: string | null,
  client: ClientInfo,
): Promise<IssuedSession | undefined> => {
  const session = await lockLiveSession(trx, sessionId)
  if (session === undefined) return undefined
  await touch(trx, session.id, client)
  await trx.updateTable('sessions').set({ tenant_id: tenantId }).where('id', '=', session.id).execute()
  return issued(box, session, tenantId, await advance(trx, box, session, { spent: false }))
}
