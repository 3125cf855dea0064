import { hmacSha256, sha256 } from '../kernel/crypto.ts'

const prefix = 'fhr_'
const shape = /^fhr_[A-Za-z0-9_-]{43}$/

/**
 * The refresh token of one generation of a session: 256 bits that only the holder of the session's secret can compute.
 * Deriving it lets a lost answer be given again while the master keeps nothing but hashes.
 */
export const deriveRefreshToken = (secret: Uint8Array, sessionId: string, generation: number): string =>
  prefix + hmacSha256(secret, `refresh:${sessionId}:${generation}`).toString('base64url')

/**
 * What is stored of a refresh token, or undefined when the text cannot be one. The last character of 43 carries four
 * of the token's bits and two spare ones, so the text is compared after decoding, in its one canonical spelling.
 */
export const refreshTokenHash = (token: string): Buffer | undefined => {
  if (!shape.test(token)) return undefined
  const body = token.slice(prefix.length)
  return Buffer.from(body, 'base64url').toString('base64url') === body ? sha256(token) : undefined
}
