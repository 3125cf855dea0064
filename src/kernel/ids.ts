import { parse, v7 } from 'uuid'

const bytesPerId = 16
/** Fetched for many ids at once: asking the system costs as much as the rest of an id ten times over. */
const random = new Uint8Array(256 * bytesPerId)
let used = random.length
const bytes = new Uint8Array(bytesPerId)
let msecs = 0
let seq = 0

/**
 * A new UUIDv7 (RFC 9562): ids sort by the time they were made, so an index on them grows at its end. Those of one process
 * sort in the order they were made in, by a counter of 31 random bits that starts anew each millisecond (method 1 there).
 */
export const newId = (): string => {
  if (used === random.length) {
    crypto.getRandomValues(random)
    used = 0
  }
  bytes.set(random.subarray(used, used + bytesPerId))
  // Nobody who reads this memory later shall find the bits of an id that was given out.
  random.fill(0, used, used + bytesPerId)
  used += bytesPerId
  const now = Date.now()
  if (now > msecs) {
    msecs = now
    seq = new DataView(bytes.buffer).getUint32(6) >>> 1
  } else {
    seq = (seq + 1) | 0
    if (seq === 0) msecs += 1
  }
  return v7({ random: bytes, msecs, seq })
}

/** Ids that were made from this time on are not less. */
export const firstIdAt = (time: Date): string => {
  const hex = time.getTime().toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export const isUuid = (text: string): boolean => uuidPattern.test(text)

const base32 = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * The permanent name of a tenant database and of its login role: `t_` and the 128 bits of the database's id as 26
 * lowercase letters and digits (RFC 4648 base32 without padding). It says nothing about its owner, because Postgres
 * shows every database and role name to every tenant role.
 */
export const databaseName = (databaseId: string): string => {
  let bits = 0n
  for (const byte of parse(databaseId)) bits = (bits << 8n) | BigInt(byte)
  bits <<= 2n
  let name = ''
  for (let i = 25n; i >= 0n; i--) name += base32[Number((bits >> (i * 5n)) & 31n)]
  return `t_${name}`
}

/** The role that owns a tenant database and everything in it. It cannot log in. */
export const ownerRoleName = (database: string): string => `${database}_owner`

/** Matches exactly what `databaseName` makes. */
export const databaseNamePattern = /^t_[a-z2-7]{26}$/
