import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../kernel/errors.ts'
import { isLoopbackHost } from '../kernel/origins.ts'

/** What a session's cookies are called here, and how they are set; see docs/decisions/0016-cookie-mode.md. */
export type SessionCookies = {
  /** The name of the cookie that holds the access token. */
  readonly accessName: string
  /** The access token; undefined when there is none. Throws `unauthenticated` when there are two, `token_expired` when only a refresh helps. */
  accessTokenOf(header: string): string | undefined
  /** The refresh token; undefined when there is none. Throws `unauthenticated` when there are two. */
  refreshTokenOf(request: FastifyRequest): string | undefined
  give(reply: FastifyReply, tokens: { access: Lasting; refresh: Lasting }): void
  /** Takes both cookies back. */
  clear(reply: FastifyReply): void
}

/** A token and for how long the browser keeps it. */
type Lasting = { token: string; seconds: number }

/** Tokens are base64url and dots; anything else would have to be escaped. */
const plainValue = /^[\w.-]*$/

/** The value of this cookie. Of two with one name, one was planted, by whoever may set cookies beside us: both are refused. */
export const readCookie = (header: string, name: string): string | undefined => {
  const start = `${name}=`
  const values = header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(start))
  if (values.length > 1) {
    throw new AppError(
      'unauthenticated',
      `There are two cookies ${name}; clear the cookies and sign in again.`,
    )
  }
  return values[0]?.slice(start.length)
}

/** What goes before a cookie's name and after its attributes here. */
export const cookieKind = (publicUrl: string): { prefix: '' | '__Host-'; secure: '' | '; Secure' } => {
  const address = new URL(publicUrl)
  const onlyHere = address.protocol === 'http:' && isLoopbackHost(address.hostname)
  return onlyHere ? { prefix: '', secure: '' } : { prefix: '__Host-', secure: '; Secure' }
}

/**
 * Cookies for this installation. Everything hangs on `publicUrl`, nothing on what a request says of itself: `__Host-` and
 * Secure everywhere, but for plain http to this very machine, where browsers would not keep them.
 */
export const createSessionCookies = (publicUrl: string): SessionCookies => {
  const { prefix, secure } = cookieKind(publicUrl)
  const [accessName, refreshName] = [`${prefix}freehold-access`, `${prefix}freehold-refresh`]

  const set = (reply: FastifyReply, name: string, { token, seconds }: Lasting): void => {
    if (!plainValue.test(token)) throw new Error('a token that no cookie can hold')
    const attributes = `Max-Age=${seconds}; Path=/; HttpOnly; SameSite=Strict${secure}`
    reply.header('set-cookie', `${name}=${token}; ${attributes}`)
  }
  return {
    accessName,
    accessTokenOf: (header) => {
      const token = readCookie(header, accessName)
      if (token === undefined && readCookie(header, refreshName) !== undefined) {
        throw new AppError('token_expired', 'The access token has expired; refresh it.')
      }
      return token
    },
    refreshTokenOf: ({ headers }) => readCookie(headers.cookie ?? '', refreshName),
    give: (reply, { access, refresh }) => {
      set(reply, accessName, access)
      set(reply, refreshName, refresh)
    },
    clear: (reply) => {
      for (const name of [accessName, refreshName]) set(reply, name, { token: '', seconds: 0 })
    },
  }
}
