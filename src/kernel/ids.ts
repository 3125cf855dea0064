import { parse, v7 } from 'uuid'

/** A new UUIDv7 (RFC 9562): ids sort by the time they were made, so an index on them grows at its end. */
export const newId = (): string => v7()

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
