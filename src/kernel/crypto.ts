import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

export const sha256 = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest()

/** 256 random bits as 43 characters of base64url: an opaque token or a machine-made password. */
export const randomSecret = (): string => randomBytes(32).toString('base64url')

export const hmacSha256 = (key: Uint8Array, data: string | Uint8Array): Buffer =>
  createHmac('sha256', key).update(data).digest()

/** Compares in a time that does not depend on where the two differ. Different lengths are different. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.byteLength === b.byteLength && timingSafeEqual(a, b)

/**
 * Seals secrets at rest with AES-256-GCM. A sealed value is `version(1) | key id(4) | nonce(12) | tag(16) | ciphertext`;
 * `context` is the associated data: a value opened under another context than it was sealed for does not open, so a
 * sealed secret copied to another row is useless.
 */
export type SecretBox = {
  /** The first four bytes of the key's SHA-256, as hex: names the key without telling anything about it. */
  readonly keyId: string
  seal(plain: string | Uint8Array, context: string): Buffer
  /** Throws when the key, the context or a single bit of the value is wrong. */
  open(sealed: Uint8Array, context: string): Buffer
}

const sealVersion = 1

export const createSecretBox = (masterKey: Uint8Array): SecretBox => {
  if (masterKey.byteLength !== 32) throw new TypeError('a master key has 32 bytes')
  const keyIdBytes = sha256(masterKey).subarray(0, 4)
  const aad = (context: string): Buffer =>
    Buffer.concat([Buffer.from([sealVersion]), keyIdBytes, Buffer.from(context)])
  return {
    keyId: keyIdBytes.toString('hex'),
    seal(plain, context) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', masterKey, nonce)
      cipher.setAAD(aad(context))
      const body = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([Buffer.from([sealVersion]), keyIdBytes, nonce, cipher.getAuthTag(), body])
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed)
      if (bytes.byteLength < 33 || bytes[0] !== sealVersion) throw new Error('not a sealed value')
      if (!bytes.subarray(1, 5).equals(keyIdBytes)) throw new Error('sealed under another master key')
      const decipher = createDecipheriv('aes-256-gcm', masterKey, bytes.subarray(5, 17))
      decipher.setAAD(aad(context))
      decipher.setAuthTag(bytes.subarray(17, 33))
      return Buffer.concat([decipher.update(bytes.subarray(33)), decipher.final()])
    },
  }
}

/**
 * The SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) that Postgres stores for a password, in the form `CREATE ROLE …
 * PASSWORD` takes it. Computing it here keeps the password itself out of the server's log and statement statistics.
 * `password` must be ASCII (ours are base64url), so SASLprep changes nothing.
 */
export const scramVerifier = (
  password: string,
  iterations = 4096,
  salt: Uint8Array = randomBytes(16),
): string => {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const storedKey = sha256(hmacSha256(salted, 'Client Key'))
  const serverKey = hmacSha256(salted, 'Server Key')
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  return `SCRAM-SHA-256$${iterations}:${b64(salt)}$${b64(storedKey)}:${b64(serverKey)}`
}
