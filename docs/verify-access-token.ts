import { createPublicKey, type KeyObject, verify } from 'node:crypto'

// How another service checks Freehold's access tokens, with Node alone. Copy it. A token that verifies was signed by
// Freehold and has not expired; whether its session still lives, only Freehold knows: ask GET /auth/context where a
// logged-out person must be refused within the token's 15 minutes.

export type Claims = { sub: string; sid: string; tid?: string; kind: 'user' | 'system'; exp: number }
type Jwk = { kty: string; crv: string; x: string; kid: string }

/** Milliseconds between two looks for a key that is not known: a flood of made-up kids stays cheap. */
const patience = 30_000
const known = new Map<string, { at: number; keys: Map<string, KeyObject> }>()

const readKeys = async (origin: string): Promise<Map<string, KeyObject>> => {
  const answer = await fetch(`${origin}/.well-known/jwks.json`, { redirect: 'error' })
  if (!answer.ok) throw new Error('the keys cannot be read')
  const { keys } = (await answer.json()) as { keys: Jwk[] }
  return new Map(
    keys.map(({ kty, crv, x, kid }) => [kid, createPublicKey({ format: 'jwk', key: { kty, crv, x } })]),
  )
}

const findKey = async (origin: string, kid: string): Promise<KeyObject | undefined> => {
  const kept = known.get(origin)
  const key = kept?.keys.get(kid)
  if (key !== undefined || (kept !== undefined && Date.now() - kept.at < patience)) return key
  const keys = await readKeys(origin)
  known.set(origin, { at: Date.now(), keys })
  return keys.get(kid)
}

const parse = (part: string): Record<string, unknown> => JSON.parse(Buffer.from(part, 'base64url').toString())

/**
 * The claims of a good access token; throws for every other text. `issuer` is Freehold's PUBLIC_URL, `origin` where its keys
 * are fetched from: never take either from the token.
 */
export const verifyAccessToken = async (
  token: string,
  { issuer, origin = issuer }: { issuer: string; origin?: string },
): Promise<Claims> => {
  const [head, body, signature, more] = token.split('.')
  if (!head || !body || !signature || more !== undefined) throw new Error('not a token')
  const { alg, typ, kid } = parse(head)
  // The algorithm is ours to choose, never the token's.
  if (alg !== 'EdDSA' || typ !== 'at+jwt' || typeof kid !== 'string') throw new Error('not an access token')
  const key = await findKey(origin, kid)
  const signed = Buffer.from(`${head}.${body}`)
  if (key === undefined || !verify(null, signed, key, Buffer.from(signature, 'base64url'))) {
    throw new Error('not signed by this issuer')
  }
  const claims = parse(body)
  if (claims.iss !== issuer || claims.aud !== issuer) throw new Error('for somebody else')
  if (typeof claims.exp !== 'number' || claims.exp * 1000 <= Date.now()) throw new Error('expired')
  return claims as Claims
}
