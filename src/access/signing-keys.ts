import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type SecretBox, sha256 } from '../kernel/crypto.ts'
import type { MasterDb } from '../master/master.ts'
import { sealedFor } from '../master/secrets.ts'

/** A public key as it is published (RFC 8037). */
export type PublicJwk = { kty: 'OKP'; crv: 'Ed25519'; x: string; kid: string; use: 'sig'; alg: 'EdDSA' }

export type SigningKey = { kid: string; privatePem: string }

/** The keys of access tokens: one signs, all that are not yet forgotten verify. */
export type SigningKeys = {
  current(): SigningKey
  /** The PEM public key named by a token's `kid`, or undefined. */
  publicPem(kid: string): string | undefined
  jwks(): { keys: PublicJwk[] }
}

/** RFC 7638: the SHA-256 of the key's required members in alphabetical order. */
const thumbprint = (x: string): string =>
  sha256(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).toString('base64url')

const rawPublic = (key: KeyObject): string => {
  const { x } = key.export({ format: 'jwk' })
  if (x === undefined) throw new Error('not an Ed25519 key')
  return x
}

const pem = (key: KeyObject): string =>
  String(
    key.export(key.type === 'private' ? { format: 'pem', type: 'pkcs8' } : { format: 'pem', type: 'spki' }),
  )

const createKey = async (db: MasterDb, box: SecretBox): Promise<void> => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const id = thumbprint(rawPublic(publicKey))
  await db.transaction().execute(async (trx) => {
    // One node makes the first key; the others wait here and then find it.
    await trx.selectFrom('installation').select('id').forUpdate().execute()
    const existing = await trx
      .selectFrom('signing_keys')
      .select('id')
      .where('retired_at', 'is', null)
      .executeTakeFirst()
    if (existing !== undefined) return
    await trx
      .insertInto('signing_keys')
      .values({
        id,
        algorithm: 'EdDSA',
        public_key: pem(publicKey),
        private_key: box.seal(pem(privateKey), sealedFor.signingKey(id)),
      })
      .execute()
  })
}

/** Reads the signing keys from the master, making the first one when there is none. Private keys are sealed there. */
export const loadSigningKeys = async (db: MasterDb, box: SecretBox): Promise<SigningKeys> => {
  await createKey(db, box)
  const rows = await db.selectFrom('signing_keys').selectAll().orderBy('created_at', 'desc').execute()
  const newest = rows.find((row) => row.retired_at === null)
  if (newest === undefined) throw new Error('the master has no signing key')
  const privatePem = pem(
    createPrivateKey(box.open(newest.private_key, sealedFor.signingKey(newest.id)).toString()),
  )
  const publicPems = new Map(rows.map((row) => [row.id, row.public_key]))
  const keys = rows.map(
    (row): PublicJwk => ({
      kty: 'OKP',
      crv: 'Ed25519',
      x: rawPublic(createPublicKey(row.public_key)),
      kid: row.id,
      use: 'sig',
      alg: 'EdDSA',
    }),
  )
  return {
    current: () => ({ kid: newest.id, privatePem }),
    publicPem: (kid) => publicPems.get(kid),
    jwks: () => ({ keys }),
  }
}
