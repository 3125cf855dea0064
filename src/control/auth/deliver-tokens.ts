import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  findCookieSession,
  type IssuedSession,
  idleSeconds,
  type Presented,
  type SessionMode,
} from '../../access/sessions.ts'
import { callerOf, refuseAuthorization } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import type { ControlDeps } from '../control-deps.ts'
import { endOwnSession } from './session-flows.ts'

/**
 * How the caller wants the tokens of a session that is opened or refreshed: by its header `x-auth-mode`. Throws `forbidden`
 * when a page from elsewhere wants them in cookies: nobody is to be signed in as somebody else unawares.
 */
export const wantedMode = (
  deps: Pick<ControlDeps, 'refuseForeignPages' | 'cookies'>,
  request: FastifyRequest,
): SessionMode => {
  if (request.headers['x-auth-mode'] !== 'cookie') return 'bearer'
  deps.refuseForeignPages(request)
  // Planted cookies would stay beside the new ones: better said now than after signing in.
  deps.cookies.refreshTokenOf(request)
  return 'cookie'
}

/**
 * Hands over the tokens of a session the way it was opened for, and answers what belongs into the body: the tokens, or the
 * CSRF token when they are in cookies now. Call it when nothing can fail any more. With a redirect, ignore the body: the page
 * asks GET /auth/context for the CSRF token.
 */
export const deliverTokens = (
  deps: Pick<ControlDeps, 'tokens' | 'accessTokenSeconds' | 'cookies'>,
  reply: FastifyReply,
  issued: IssuedSession,
) => {
  const accessToken = deps.tokens.issue(issued)
  const { refreshToken, csrfToken } = issued
  const expiresIn = deps.accessTokenSeconds
  if (csrfToken === null) return { accessToken, refreshToken, tokenType: 'Bearer' as const, expiresIn }
  deps.cookies.give(reply, {
    access: { token: accessToken, seconds: expiresIn },
    refresh: { token: refreshToken, seconds: idleSeconds },
  })
  return { csrfToken, expiresIn }
}

/**
 * Ends the session that the browser had in its cookies until it was given another one just now: nobody would sign it out any
 * more. Call it when somebody has signed in, before `deliverTokens`.
 */
export const endReplacedSession = async (
  deps: ControlDeps,
  request: FastifyRequest,
  { csrfToken }: IssuedSession,
): Promise<void> => {
  const token = csrfToken === null ? undefined : deps.cookies.refreshTokenOf(request)
  const replaced = token === undefined ? undefined : await findCookieSession(deps.db, token)
  if (replaced !== undefined) await endOwnSession(deps, replaced, 'logout', callerOf(request))
}

/** The refresh token of a request and the way it came: from the body or from the cookie, never from both. */
export const presentedRefreshToken = (
  deps: Pick<ControlDeps, 'refuseForeignPages' | 'cookies'>,
  request: FastifyRequest<{ Body: { refreshToken?: string } | null }>,
): Presented => {
  const mode = wantedMode(deps, request)
  const inBody = request.body?.refreshToken
  if (mode === 'cookie') {
    refuseAuthorization(request)
    const csrfToken = request.headers['x-csrf-token']?.toString()
    if (inBody !== undefined) {
      throw new AppError(
        'validation_failed',
        'With x-auth-mode: cookie the refresh token comes in the cookie.',
      )
    }
    const token = deps.cookies.refreshTokenOf(request)
    if (token !== undefined) return { token, mode, csrfToken }
    throw new AppError('unauthenticated', 'There is no cookie with a refresh token; sign in again.')
  }
  if (inBody !== undefined) return { token: inBody, mode }
  const detail = 'body/refreshToken is required, or the header "x-auth-mode: cookie" and the cookie.'
  throw new AppError('validation_failed', detail, {
    errors: [{ path: '/refreshToken', message: 'is required' }],
  })
}
