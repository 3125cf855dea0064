import fastifyJwt from '@fastify/jwt'
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
  kind: 'user'
  jti: string
  iat: number
  exp: number
}

export type AccessTokens = {
  /** A signed token for a session, good for `accessTokenSeconds`. */
  issue(claims: { personId: string; sessionId: string; tenantId: string | null }): string
  /** Throws `token_expired` or `unauthenticated`. */
  verify(token: string): Promise<AccessClaims>
}

const tokenType = 'at+jwt'
const required = ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp', 'kind']
const knownHeader = new Set(['alg', 'typ', 'kid'])
const threeParts = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

const invalid = (cause?: unknown): AppError =>
  new AppError('unauthenticated', 'The access token is not valid; sign in again.', { cause })

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
    kind === 'user' &&
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
  return {
    issue: ({ personId, sessionId, tenantId }) => {
      const { kid, privatePem } = keys.current()
      const iat = epochSeconds(clock)
      const payload = {
        iss: issuer,
        aud: issuer,
        sub: personId,
        sid: sessionId,
        ...(tenantId === null ? {} : { tid: tenantId }),
        kind: 'user',
        jti: newId(),
        iat,
        exp: iat + seconds,
      }
      return app.jwt.sign(payload, {
        key: privatePem,
        kid,
        algorithm: 'EdDSA',
        header: { typ: tokenType, alg: 'EdDSA' },
      })
    },
    verify: async (token) => {
      const key = keys.publicPem(readKid(token))
      if (key === undefined) throw invalid()
      let payload: unknown
      try {
        payload = app.jwt.verify(token, { ...verifyOptions, key, clockTimestamp: clock.now().getTime() })
      } catch (error) {
        const code = (error as { code?: string }).code
        if (code === 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' || code === 'FAST_JWT_EXPIRED') {
          throw new AppError('token_expired', 'The access token has expired; refresh it.', { cause: error })
        }
        throw invalid(error)
      }
      if (!isClaims(payload) || payload.iat > epochSeconds(clock) + clockSkewSeconds) throw invalid()
      return payload
    },
  }
}
