import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { sha256 } from './crypto.ts'

/** A public key as it is published (RFC 8037). */
export type PublicJwk = { kty: 'OKP'; crv: 'Ed25519'; x: string; kid: string; use: 'sig'; alg: 'EdDSA' }

/** The raw public key. Throws for what is no Ed25519 key. */
export const rawPublic = (key: KeyObject): string => {
  const { x } = key.export({ format: 'jwk' })
  if (x === undefined) throw new Error('not an Ed25519 key')
  return x
}

/** RFC 7638: the SHA-256 of the key's required members in alphabetical order. */
export const thumbprint = (x: string): string =>
  sha256(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).toString('base64url')

export const toJwk = (kid: string, publicPem: string): PublicJwk => ({
  ...{ kty: 'OKP', crv: 'Ed25519', x: rawPublic(createPublicKey(publicPem)) },
  ...{ kid, use: 'sig', alg: 'EdDSA' },
})

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A compact JWS (RFC 7515, 8037) over `payload` as JSON. `typ` says what it is, so that one can't pass for another. */
export const signJws = (
  { kid, privateKey }: { kid: string; privateKey: KeyObject },
  typ: string,
  payload: object,
): string => {
  const text = `${encode({ alg: 'EdDSA', typ, kid })}.${encode(payload)}`
  return `${text}.${sign(null, Buffer.from(text), privateKey).toString('base64url')}`
}
