import { hmacSha256, type ScramKeys, scramKeys } from '../../kernel/crypto.ts'

/** So many iterations are computed at once; tenants' roles have one (decision 15). */
const mostIterations = 64

/** A server's first message (RFC 5802, section 7) without extensions. */
const firstOfServer =
  /^r=([\x21-\x2b\x2d-\x7e]+),s=((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?),i=([1-9]\d{0,4})$/

/** What a client without channel binding says first, before its own nonce. */
const greeting = 'n,,'

const proofOf = ({ clientKey, storedKey }: ScramKeys, message: string): string => {
  const signature = hmacSha256(storedKey, message)
  return Buffer.from(clientKey.map((byte, n) => byte ^ (signature[n] ?? 0))).toString('base64')
}

/**
 * What a client answers to the server's first message of SCRAM-SHA-256 (RFC 5802, RFC 7677), and what the server must then
 * say to prove that it knows the password too. `first` is the client's own first message. Undefined for whatever is not the plain
 * case: channel binding, a password that is not ASCII, many iterations, or a message that is wrong.
 *
 * The driver does the same with a dozen jobs in libuv's threads, each of which waits for one of four that passwords keep busy.
 */
export const answerScram = (
  password: string,
  first: string,
  server: string,
): { response: string; serverSignature: string } | undefined => {
  const bare = first.slice(greeting.length)
  const clientNonce = /^n=[^,]*,r=(.+)$/.exec(bare)?.[1]
  const [, nonce, salt, count] = firstOfServer.exec(server) ?? []
  if (!first.startsWith(greeting) || clientNonce === undefined || !/^[\x21-\x7e]+$/.test(password))
    return undefined
  if (nonce === undefined || salt === undefined || Number(count) > mostIterations) return undefined
  if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length) return undefined
  const keys = scramKeys(password, Number(count), Buffer.from(salt, 'base64'))
  const last = `c=${Buffer.from(greeting).toString('base64')},r=${nonce}`
  const message = `${bare},${server},${last}`
  return {
    response: `${last},p=${proofOf(keys, message)}`,
    serverSignature: hmacSha256(keys.serverKey, message).toString('base64'),
  }
}
