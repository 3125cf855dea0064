import type { FastifyRequest } from 'fastify'
import type { Grants, LiveSession } from '../access/grants.ts'
import type { Clock } from '../kernel/clock.ts'
import { AppError } from '../kernel/errors.ts'
import type { AccessClaims, AccessTokens } from './access-tokens.ts'

/** Who calls: proved by the access token and the session behind it. */
export type Identity = Readonly<{
  personId: string
  sessionId: string
  /** The tenant chosen in the token; whether the person may enter it is decided by the tenant scope. */
  tenantId: string | null
  platformAdmin: boolean
  /** True for a system user. */
  system: boolean
}>

/** What an audit entry and a session keep of the caller. */
export type Caller = Readonly<{ address: string; userAgent: string | null; requestId: string }>

export const callerOf = (request: FastifyRequest): Caller => ({
  address: request.ip,
  userAgent: request.headers['user-agent']?.slice(0, 500) ?? null,
  requestId: request.id,
})

const scheme = 'bearer '
const name = 'authorization'

/** The one bearer token of a request. Two headers, or a header that is no bearer token, are refused, never skipped. */
const bearerToken = (request: FastifyRequest): string => {
  const raw = request.raw.rawHeaders
  let headers = 0
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.length === name.length && raw[i]?.toLowerCase() === name) headers += 1
  }
  const { authorization = '' } = request.headers
  if (headers !== 1 || authorization.slice(0, scheme.length).toLowerCase() !== scheme) {
    throw new AppError(
      'unauthenticated',
      'Send one header "Authorization: Bearer <access token>"; sign in to get a token.',
    )
  }
  return authorization.slice(scheme.length)
}

/** Answers who calls: at once when everything is remembered. Throws (or rejects with) `unauthenticated`, `token_expired`. */
export type Authenticate = (
  request: FastifyRequest,
  /** Told whose session, in which tenant, has to be looked up: time to look up the rest as well. */
  expect?: (tenantId: string, personId: string) => void,
) => Identity | Promise<Identity>

const toIdentity = (claims: AccessClaims, session: LiveSession | undefined, clock: Clock): Identity => {
  const system = session?.system ?? false
  if (
    session === undefined ||
    session.personId !== claims.sub ||
    system !== (claims.kind === 'system') ||
    session.expiresAt <= clock.now()
  ) {
    throw new AppError('unauthenticated', 'The session has ended; sign in again.')
  }
  return {
    personId: session.personId,
    sessionId: session.sessionId,
    tenantId: claims.tid ?? null,
    platformAdmin: session.platformAdmin,
    system,
  }
}

export const createAuthenticate =
  (tokens: AccessTokens, grants: Grants, clock: Clock): Authenticate =>
  (request, expect) => {
    const claims = tokens.verify(bearerToken(request))
    const session = grants.peekSession(claims.sid)
    if (session !== undefined) return toIdentity(claims, session, clock)
    if (claims.tid !== undefined) expect?.(claims.tid, claims.sub)
    return grants.session(claims.sid).then((found) => toIdentity(claims, found, clock))
  }
