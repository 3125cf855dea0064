import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionMode } from '../../access/sessions.ts'
import { cookieKind, readCookie } from '../../http/cookies.ts'
import { randomSecret, sameBytes } from '../../kernel/crypto.ts'
import type { Binding } from '../../oidc/provider.ts'
import type { Travellers } from './travellers.ts'

/** So long, in seconds, somebody may take at the provider. */
export const flowSeconds = 600

/** What a sign-in is for: whom to send back where, and whose account to connect. */
export type Purpose = {
  provider: string
  /** Null: whoever comes back gets the session as the answer itself. */
  returnTo: string | null
  /** How the tokens of the session are to travel. */
  mode: SessionMode
  /** Base64url; see spendSignInCode. */
  challenge: string | null
  /** Of an invitation, which a new account accepts. */
  invitationToken: string | null
  /** Set when a signed-in person connects an identity: the session that must finish it. */
  link: { personId: string; sessionId: string } | null
}

/** A sign-in under way. It travels in a cookie, sealed, so that it can only come back with the browser that began it. */
export type Flow = Purpose & Binding & { expiresAt: number }

/** A new sign-in and the cookie that carries it. */
export const beginFlow = (travellers: Travellers, purpose: Purpose): { binding: Binding; cookie: string } => {
  const binding = { state: `fhs_${randomSecret()}`, nonce: randomSecret(), verifier: randomSecret() }
  return { binding, cookie: travellers.send('sign-in', { ...purpose, ...binding }, flowSeconds) }
}

/** The sign-in that this cookie carries, if it was begun with this provider and this state. */
export const readFlow = (
  travellers: Travellers,
  cookie: string | undefined,
  expected: { provider: string; state: string | undefined },
): Flow | undefined => {
  const flow = travellers.receive('sign-in', cookie ?? '') as Flow | undefined
  if (flow === undefined || expected.state === undefined || flow.provider !== expected.provider)
    return undefined
  return sameBytes(Buffer.from(flow.state), Buffer.from(expected.state)) ? flow : undefined
}

/** The cookie that a sign-in travels in: a browser keeps one, so who begins twice finishes the second. */
export const flowCookie = (publicUrl: string) => {
  const { prefix, secure } = cookieKind(publicUrl)
  const name = `${prefix}freehold-sign-in`
  // Lax: the provider sends the browser back from another site.
  const set = (reply: FastifyReply, value: string, seconds: number): void => {
    reply.header(
      'set-cookie',
      `${name}=${value}; Max-Age=${seconds}; Path=/; HttpOnly; SameSite=Lax${secure}`,
    )
  }
  return {
    read: (request: FastifyRequest): string | undefined => readCookie(request.headers.cookie ?? '', name),
    give: (reply: FastifyReply, value: string): void => set(reply, value, flowSeconds),
    clear: (reply: FastifyReply): void => set(reply, '', 0),
  }
}
