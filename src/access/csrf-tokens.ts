import { hmacSha256, sameBytes } from '../kernel/crypto.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'

const prefix = 'fhx_'

/**
 * The CSRF token of a session: 256 bits that only the holder of the session's secret can compute. The same for all tabs as
 * long as the session lives, whatever is refreshed meanwhile.
 */
export const deriveCsrfToken = (secret: Uint8Array, sessionId: string): string =>
  prefix + hmacSha256(secret, `csrf:${sessionId}`).toString('base64url')

/** What is stored of a CSRF token, or undefined when the text cannot be one. */
export const csrfTokenHash = (token: string): Buffer | undefined => opaqueTokenHash(prefix, token)

/** Whether this text is the token with this hash, in a time that does not tell how close it came. */
export const isCsrfToken = (token: unknown, hash: Uint8Array): boolean => {
  const sent = typeof token === 'string' ? csrfTokenHash(token) : undefined
  return sent !== undefined && sameBytes(sent, hash)
}
