import { sha256 } from '../kernel/crypto.ts'

const body = /^[A-Za-z0-9_-]{43}$/

/**
 * What is stored of an opaque token of 256 bits (a prefix that names its kind, then 43 characters of base64url), or
 * undefined when the text cannot be one. The text itself is hashed, so a token has exactly one spelling.
 */
export const opaqueTokenHash = (prefix: string, token: string): Buffer | undefined =>
  token.startsWith(prefix) && body.test(token.slice(prefix.length)) ? sha256(token) : undefined
