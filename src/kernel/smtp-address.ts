/**
 * A mail server and who logs in there. `smtps` speaks TLS from the first byte, `starttls` insists on it before anything
 * is said; `plain` sends in the clear.
 */
export type SmtpAddress = Readonly<{
  host: string
  port: number
  security: 'smtps' | 'starttls' | 'plain'
  /** False: encrypted, but the server's certificate is not checked. */
  verify: boolean
  login: Readonly<{ user: string; password: string }> | undefined
}>

const tlsModes = new Set(['verify', 'no-verify', 'off'])

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)

/**
 * Reads `smtps://user:password@host:465` or `smtp://user:password@host:587`. TLS with a checked certificate is required,
 * except by `smtp` to this machine itself; `?tls=no-verify` and `?tls=off` ask for less. Throws an Error whose message
 * says what is wrong without repeating the address (it holds a password).
 */
export const parseSmtpUrl = (text: string): SmtpAddress => {
  const url = URL.parse(text)
  if (url === null || !['smtp:', 'smtps:'].includes(url.protocol) || url.hostname === '') {
    throw new Error('must be an address like smtps://user:password@smtp.example.com:465')
  }
  const implicit = url.protocol === 'smtps:'
  const host = decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1')
  const tls = url.searchParams.get('tls') ?? (!implicit && isLoopback(host) ? 'off' : 'verify')
  const known = [...url.searchParams.keys()].every((name) => name === 'tls') && tlsModes.has(tls)
  if (!known || (url.pathname !== '' && url.pathname !== '/')) {
    throw new Error('may end with ?tls=verify, ?tls=no-verify or ?tls=off, and with nothing else')
  }
  if (implicit && tls === 'off') throw new Error('cannot be smtps with ?tls=off; use smtp')
  const user = decodeURIComponent(url.username)
  const login = user === '' ? undefined : Object.freeze({ user, password: decodeURIComponent(url.password) })
  return Object.freeze({
    host,
    port: url.port === '' ? (implicit ? 465 : 587) : Number(url.port),
    security: implicit ? 'smtps' : tls === 'off' ? 'plain' : 'starttls',
    verify: tls === 'verify',
    login,
  })
}
