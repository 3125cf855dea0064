import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  type KeyObject,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

export const sha256 = (data: string | Uint8Array): Buffer => hash('sha256', data, 'buffer')

/** 256 random bits as 43 characters of base64url: an opaque token or a machine-made password. */
export const randomSecret = (): string => randomBytes(32).toString('base64url')

/** The key is wrapped first: Node 24 finds out that a plain one is no KeyObject by an error that it catches, four times the work. */
export const hmacSha256 = (key: Uint8Array, data: string | Uint8Array): Buffer =>
  createHmac('sha256', createSecretKey(key)).update(data).digest()

/** Compares in a time that does not depend on where the two differ. Different lengths are different. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.byteLength === b.byteLength && timingSafeEqual(a, b)

/**
 * Seals secrets at rest with AES-256-GCM. A sealed value is `version(1) | key id(4) | nonce(12) | tag(16) | ciphertext`;
 * `context` is the associated data: a value opened under another context than it was sealed for does not open, so a
 * sealed secret copied to another row is useless. Seal inside the transaction that stores the value: a rotation of the
 * key waits for transactions, and for nothing else.
 */
export type SecretBox = {
  seal(plain: string | Uint8Array, context: string): Buffer
  /** Throws when the key, the context or a single bit of the value is wrong. */
  open(sealed: Uint8Array, context: string): Buffer
}

/** A box that may know several master keys, as while one takes the place of another. It opens with all, and seals with one. */
export type KeyRing = SecretBox & {
  /**
   * Names the key that seals, without telling anything about it: the first four bytes of its SHA-256, as hex. At first
   * it is the first key that was given.
   */
  readonly keyId: string
  readonly keyIds: readonly string[]
  /** Adds keys that it does not know yet. */
  learn(masterKeys: readonly Uint8Array[]): void
  /** From now on this one seals. Throws when it is not known. */
  sealUnder(keyId: string): void
}

const sealVersion = 1

/** The id of the key that a value was sealed under; throws when it is none of ours. */
export const keyIdOf = (sealed: Uint8Array): string => {
  if (sealed.byteLength < 33 || sealed[0] !== sealVersion) throw new Error('not a sealed value')
  return Buffer.from(sealed.subarray(1, 5)).toString('hex')
}

/** How a master key is called, as in `KeyRing.keyId`. */
export const masterKeyId = (masterKey: Uint8Array): string => sha256(masterKey).toString('hex', 0, 4)

const aad = (keyId: string, context: string): Buffer =>
  Buffer.concat([Buffer.from([sealVersion]), Buffer.from(keyId, 'hex'), Buffer.from(context)])

export const createSecretBox = (masterKey: Uint8Array, ...others: readonly Uint8Array[]): KeyRing => {
  // Wrapped, for the reason that hmacSha256 has.
  const keys = new Map<string, KeyObject>()
  const learn = (masterKeys: readonly Uint8Array[]): void => {
    for (const key of masterKeys) {
      if (key.byteLength !== 32) throw new TypeError('a master key has 32 bytes')
      keys.set(masterKeyId(key), createSecretKey(key))
    }
  }
  const keyOf = (keyId: string): KeyObject => {
    const key = keys.get(keyId)
    if (key === undefined) throw new Error('sealed under another master key')
    return key
  }
  learn([masterKey, ...others])
  let current = masterKeyId(masterKey)
  return {
    get keyId() {
      return current
    },
    get keyIds() {
      return [...keys.keys()]
    },
    learn,
    sealUnder(keyId) {
      keyOf(keyId)
      current = keyId
    },
    seal(plain, context) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', keyOf(current), nonce)
      cipher.setAAD(aad(current, context))
      const body = Buffer.concat([cipher.update(plain), cipher.final()])
      const head = Buffer.concat([Buffer.from([sealVersion]), Buffer.from(current, 'hex')])
      return Buffer.concat([head, nonce, cipher.getAuthTag(), body])
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed)
      const keyId = keyIdOf(bytes)
      const decipher = createDecipheriv('aes-256-gcm', keyOf(keyId), bytes.subarray(5, 17))
      decipher.setAAD(aad(keyId, context))
      decipher.setAuthTag(bytes.subarray(17, 33))
      return Buffer.concat([decipher.update(bytes.subarray(33)), decipher.final()])
    },
  }
}

/** What SCRAM-SHA-256 derives from a password (RFC 5802, section 3). */
export type ScramKeys = Readonly<{ clientKey: Buffer; storedKey: Buffer; serverKey: Buffer }>

/** `password` must be ASCII, so that SASLprep changes nothing. */
export const scramKeys = (password: string, iterations: number, salt: Uint8Array): ScramKeys => {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const clientKey = hmacSha256(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmacSha256(salted, 'Server Key') }
}

/**
 * The SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) that Postgres stores for a password, in the form `CREATE ROLE …
 * PASSWORD` takes it. Computing it here keeps the password itself out of the server's log and statement statistics.
 * Ours are base64url.
 */
export const scramVerifier = (
  password: string,
  iterations = 4096,
  salt: Uint8Array = randomBytes(16),
): string => {
  const { storedKey, serverKey } = scramKeys(password, iterations, salt)
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  return `SCRAM-SHA-256$${iterations}:${b64(salt)}$${b64(storedKey)}:${b64(serverKey)}`
}
