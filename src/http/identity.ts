import type { FastifyRequest } from 'fastify'
import { isCsrfToken } from '../access/csrf-tokens.ts'
import type { Grants, LiveSession } from '../access/grants.ts'
import type { Clock } from '../kernel/clock.ts'
import { AppError } from '../kernel/errors.ts'
import type { AccessClaims, AccessTokens } from './access-tokens.ts'
import type { SessionCookies } from './cookies.ts'
import type { RefuseForeignPages } from './origins.ts'
import { countHeaders } from './raw-headers.ts'

/** Who calls: proved by the access token and the session behind it. */
export type Identity = Readonly<{
  personId: string
  sessionId: string
  /** The tenant chosen in the token; whether the person may enter it is decided by the tenant scope. */
  tenantId: string | null
  platformAdmin: boolean
  /** True for a system user. */
  system: boolean
  /** True when the tokens of the session live in cookies. */
  inCookies?: boolean
}>

/** What an audit entry and a session keep of the caller. */
export type Caller = Readonly<{ address: string; userAgent: string | null; requestId: string }>

export const callerOf = (request: FastifyRequest): Caller => ({
  address: request.ip,
  userAgent: request.headers['user-agent']?.slice(0, 500) ?? null,
  requestId: request.id,
})

const scheme = 'bearer '
const countAuthorizations = (request: FastifyRequest): number => countHeaders(request, 'authorization')

/** The one bearer token of a request. Two headers, or a header that is no bearer token, are refused, never skipped. */
const bearerToken = (request: FastifyRequest, headers: number): string => {
  const { authorization = '' } = request.headers
  if (headers !== 1 || authorization.slice(0, scheme.length).toLowerCase() !== scheme) {
    throw new AppError(
      'unauthenticated',
      'Send one header "Authorization: Bearer <access token>"; sign in to get a token.',
    )
  }
  return authorization.slice(scheme.length)
}

/** Throws when there is an Authorization header: whoever sends one is believed by it, or not at all. */
export const refuseAuthorization = (request: FastifyRequest): void => {
  if (countAuthorizations(request) === 0) return
  throw new AppError('unauthenticated', 'Send the cookies or an Authorization header, not both.')
}

/** What tells a page that may act for its person from one that only has their browser send the cookies. */
export type CookieRules = { cookies: SessionCookies; refuseForeignPages: RefuseForeignPages }

/** By RFC 9110, 9.2.1, these change nothing. */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/** The refusal of a request that does not prove that a page of ours sent it, or meant another session. */
export const forged = (): AppError =>
  new AppError(
    'forbidden',
    'Send the x-csrf-token of this session; GET /auth/context and POST /auth/refresh answer with it.',
  )

/** Answers who calls: at once when everything is remembered. Throws (or rejects with) `unauthenticated`, `token_expired`. */
export type Authenticate = (
  request: FastifyRequest,
  /**
   * Told whose session, in which tenant, has to be looked up: time to look up the rest as well. The session
   * is looked up once what it returns has resolved.
   */
  expect?: (tenantId: string, personId: string) => Promise<void> | undefined,
) => Identity | Promise<Identity>

const toIdentity = (
  claims: AccessClaims,
  session: LiveSession | undefined,
  clock: Clock,
  inCookies: boolean,
): Identity => {
  const system = session?.system ?? false
  if (
    session === undefined ||
    session.personId !== claims.sub ||
    system !== (claims.kind === 'system') ||
    session.expiresAt <= clock.now() ||
    // A token that was made for the one way is good for nothing on the other.
    ((session.csrfHash ?? null) !== null) !== inCookies
  ) {
    throw new AppError('unauthenticated', 'The session has ended; sign in again.')
  }
  return {
    personId: session.personId,
    sessionId: session.sessionId,
    tenantId: claims.tid ?? null,
    platformAdmin: session.platformAdmin,
    system,
    inCookies,
  }
}

/**
 * Believes the bearer token when there is an Authorization header, of whatever kind; only without one, and with
 * `cookieRules`, the cookies. On the way of a bearer token nobody looks at cookies.
 */
export const createAuthenticate = (
  tokens: AccessTokens,
  grants: Grants,
  clock: Clock,
  cookieRules?: CookieRules,
): Authenticate => {
  const accessCookie = (request: FastifyRequest): string | undefined => {
    const { cookie } = request.headers
    if (cookie === undefined || cookieRules === undefined) return undefined
    const token = cookieRules.cookies.accessTokenOf(cookie)
    if (token !== undefined && !safeMethods.has(request.method)) cookieRules.refuseForeignPages(request)
    return token
  }
  const identify = (
    request: FastifyRequest,
    claims: AccessClaims,
    session: LiveSession | undefined,
    inCookies: boolean,
  ): Identity => {
    const identity = toIdentity(claims, session, clock, inCookies)
    const hash = session?.csrfHash
    // Of what only reads, pages from elsewhere never see the answer.
    if (!hash || safeMethods.has(request.method) || isCsrfToken(request.headers['x-csrf-token'], hash)) {
      return identity
    }
    throw forged()
  }
  return (request, expect) => {
    const headers = countAuthorizations(request)
    const cookie = headers === 0 ? accessCookie(request) : undefined
    const inCookies = cookie !== undefined
    const claims = tokens.verify(cookie ?? bearerToken(request, headers))
    const session = grants.peekSession(claims.sid)
    if (session !== undefined) return identify(request, claims, session, inCookies)
    const expected = claims.tid === undefined ? undefined : expect?.(claims.tid, claims.sub)
    const look = () => grants.session(claims.sid)
    return (expected?.then(look) ?? look()).then((found) => identify(request, claims, found, inCookies))
  }
}
