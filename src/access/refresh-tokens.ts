import { hmacSha256 } from '../kernel/crypto.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'

const prefix = 'fhr_'

/**
 * The refresh token of one generation of a session: 256 bits that only the holder of the session's secret can compute.
 * Deriving it lets a lost answer be given again while the master keeps nothing but hashes.
 */
export const deriveRefreshToken = (secret: Uint8Array, sessionId: string, generation: number): string =>
  prefix + hmacSha256(secret, `refresh:${sessionId}:${generation}`).toString('base64url')

/** What is stored of a refresh token, or undefined when the text cannot be one. */
export const refreshTokenHash = (token: string): Buffer | undefined => opaqueTokenHash(prefix, token)
