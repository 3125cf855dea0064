import fastifyJwt from '@fastify/jwt'
import { LRUCache } from 'lru-cache'
import type { SigningKeys } from '../access/signing-keys.ts'
import { type Clock, epochSeconds } from '../kernel/clock.ts'
import { AppError } from '../kernel/errors.ts'
import { isUuid, newId } from '../kernel/ids.ts'
import type { App } from './app.ts'

/** What an access token says, after every check. Permissions are not in it: they are looked up, so a change acts at once. */
export type AccessClaims = {
  sub: string
  sid: string
  tid?: string
  kind: 'user' | 'system'
  jti: string
  iat: number
  exp: number
}

export type AccessTokens = {
  /** A signed token for a session, good for `accessTokenSeconds`, or for as long as a system user's is. */
  issue(claims: {
    personId: string
    sessionId: string
    tenantId: string | null
    system?: { serviceType: string; seconds: number }
  }): string
  /**
   * Throws `token_expired` or `unauthenticated`. A token that verified once is remembered under its `jti`, so the next
   * requests with it cost no signature check; its expiry is checked every time, and nothing is remembered beyond the key it was
   * signed with. Only the very text that was verified is believed: another text with the same `jti` is checked anew.
   */
  verify(token: string): AccessClaims
}

const tokenType = 'at+jwt'
const required = ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp', 'kind']
const knownHeader = new Set(['alg', 'typ', 'kid'])
const threeParts = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

const invalid = (cause?: unknown): AppError =>
  new AppError('unauthenticated', 'The access token is not valid; sign in again.', { cause })

const expired = (cause?: unknown): AppError =>
  new AppError('token_expired', 'The access token has expired; refresh it.', { cause })

/** About 1 KB each. */
const rememberedTokens = 20_000

/** `{"jti":"`, an id and `"` are 45 bytes: these 60 characters spell the `jti` and nothing else, each in one way only. */
const jtiLength = 60

/**
 * The `jti` of a token as it is spelt there: the payloads that we sign begin with it, so nothing is decoded. Nothing is checked
 * here, and nothing believed: it only says under which name the token may be remembered.
 */
const spelledJti = (token: string): string => {
  const payload = token.indexOf('.') + 1
  return token.slice(payload, payload + jtiLength)
}

type Remembered = Readonly<{ token: string; claims: AccessClaims; generation: number }>

/** The header, when the token has the one spelling we issue. What we never put there (jwk, jku, crit …) is refused. */
const readKid = (token: string): string => {
  const parts = threeParts.exec(token)
  const [, header = '', , signature = ''] = parts ?? []
  // 86 characters hold 512 bits and 4 spare ones; only the canonical spelling is ours.
  if (parts === null || Buffer.from(signature, 'base64url').toString('base64url') !== signature)
    throw invalid()
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(header, 'base64url').toString())
  } catch (error) {
    throw invalid(error)
  }
  if (
    typeof decoded !== 'object' ||
    decoded === null ||
    !Object.keys(decoded).every((k) => knownHeader.has(k))
  ) {
    throw invalid()
  }
  const { alg, typ, kid } = decoded as Record<string, unknown>
  if (alg !== 'EdDSA' || typ !== tokenType || typeof kid !== 'string') throw invalid()
  return kid
}

/** How far the clocks of two nodes may be apart. */
const clockSkewSeconds = 10

const isClaims = (payload: unknown): payload is AccessClaims => {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
  const { sub, sid, tid, jti, kind, exp, iat } = payload as Record<string, unknown>
  return (
    [sub, sid, jti].every((id) => typeof id === 'string' && isUuid(id)) &&
    (tid === undefined || (typeof tid === 'string' && isUuid(tid))) &&
    (kind === 'user' || kind === 'system') &&
    Number.isSafeInteger(exp) &&
    Number.isSafeInteger(iat)
  )
}

/** Signing and checking of access tokens (RFC 9068 profile, EdDSA) with the keys of this installation. */
export const registerAccessTokens = async (
  app: App,
  options: { keys: SigningKeys; issuer: string; seconds: number; clock: Clock },
): Promise<AccessTokens> => {
  const { keys, issuer, seconds, clock } = options
  await app.register(fastifyJwt, {
    secret: {
      private: keys.current().privatePem,
      public: () => Promise.reject(new Error('keys are chosen by kid')),
    },
    sign: { algorithm: 'EdDSA' },
  })
  const verifyOptions = {
    algorithms: ['EdDSA' as const],
    allowedIss: issuer,
    allowedAud: issuer,
    requiredClaims: required,
    checkTyp: tokenType,
  }
  const verifyAnew = (token: string): AccessClaims => {
    const key = keys.publicPem(readKid(token))
    if (key === undefined) throw invalid()
    let payload: unknown
    try {
      payload = app.jwt.verify(token, { ...verifyOptions, key, clockTimestamp: clock.now().getTime() })
    } catch (error) {
      const { code } = error as { code?: string }
      throw code === 'FAST_JWT_EXPIRED' ? expired(error) : invalid(error)
    }
    if (!isClaims(payload) || payload.iat > epochSeconds(clock) + clockSkewSeconds) throw invalid()
    return Object.freeze(payload)
  }
  const remembered = new LRUCache<string, Remembered>({ max: rememberedTokens })
  return {
    issue: ({ personId, sessionId, tenantId, system }) => {
      const { kid, privatePem } = keys.current()
      const iat = epochSeconds(clock)
      const payload = {
        // First, see spelledJti.
        jti: newId(),
        iss: issuer,
        aud: issuer,
        sub: personId,
        sid: sessionId,
        ...(tenantId === null ? {} : { tid: tenantId }),
        ...(system === undefined ? { kind: 'user' } : { kind: 'system', service_type: system.serviceType }),
        iat,
        exp: iat + (system?.seconds ?? seconds),
      }
      return app.jwt.sign(payload, {
        key: privatePem,
        kid,
        algorithm: 'EdDSA',
        header: { typ: tokenType, alg: 'EdDSA' },
      })
    },
    verify: (token) => {
      const jti = spelledJti(token)
      const known = remembered.get(jti)
      if (known?.token === token && known.generation === keys.generation()) {
        if (known.claims.exp <= epochSeconds(clock)) throw expired()
        return known.claims
      }
      const generation = keys.generation()
      const claims = verifyAnew(token)
      remembered.set(jti, { token, claims, generation })
      return claims
    },
  }
}
