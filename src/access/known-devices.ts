import { isIPv4 } from 'node:net'
import { sql } from 'kysely'
import { sha256 } from '../kernel/crypto.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import type { ClientInfo } from './sessions.ts'

/** The newest of a person's devices that are kept; who travels gets one for each network. */
const keptDevices = 50

/** The first groups of 16 bits of an IPv6 address, in one spelling. */
const firstGroups = (address: string, count: number): string => {
  const [left = '', right] = address.toLowerCase().split('%', 1).join('').split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : Math.max(0, 8 - head.length - tail.length)
  return [...head, ...Array.from({ length: zeros }, () => '0'), ...tail]
    .slice(0, count)
    .map((group) => group.padStart(4, '0'))
    .join(':')
}

const unmapped = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

/** The neighbourhood of an address: homes get a /56 or a /48 of IPv6 (RFC 6177), and DHCP another one of a /24. */
export const networkOf = (address: string): string => {
  const v4 = unmapped(address)
  return isIPv4(v4) ? v4.split('.', 3).join('.') : firstGroups(address, 3)
}

/** What a single machine can choose its addresses from: one of IPv4, a /64 of IPv6 (RFC 4862). */
export const addressBlock = (address: string): string => {
  const v4 = unmapped(address)
  return isIPv4(v4) ? v4 : firstGroups(address, 4)
}

/** The user agent without its numbers: an update of the browser makes no new device. */
const familyOf = (userAgent: string | null): string => (userAgent ?? '').replaceAll(/[\d._]+/g, '')

/**
 * What tells a person's devices apart without a cookie: the kind of client, and the network it is in. It is a guess, good
 * for a mail and for patience with wrong passwords, never a proof. Hashed with the person, so that rows of two people say
 * nothing about each other.
 */
export const deviceFingerprint = (personId: string, { address, userAgent }: ClientInfo): Buffer =>
  sha256(`${personId}\n${address === null ? '' : networkOf(address)}\n${familyOf(userAgent)}`)

/** True when the person has signed in from this kind of client in this network before. */
export const isKnownDevice = async (db: MasterDb, personId: string, client: ClientInfo): Promise<boolean> => {
  const row = await db
    .selectFrom('known_devices')
    .select('person_id')
    .where('person_id', '=', personId)
    .where('fingerprint', '=', deviceFingerprint(personId, client))
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Remembers a device that has just signed in. Answers whether it is news to its person: new, and not the first one of
 * all, which is where the account began.
 */
export const rememberDevice = async (
  trx: MasterTransaction,
  personId: string,
  client: ClientInfo,
): Promise<'known' | 'first' | 'new'> => {
  const { inserted } = await trx
    .insertInto('known_devices')
    .values({ person_id: personId, fingerprint: deviceFingerprint(personId, client) })
    .onConflict((conflict) =>
      conflict.columns(['person_id', 'fingerprint']).doUpdateSet({ last_seen_at: sql<Date>`now()` }),
    )
    // A row that no transaction has updated yet is a new one.
    .returning(sql<boolean>`xmax = 0`.as('inserted'))
    .executeTakeFirstOrThrow()
  if (!inserted) return 'known'
  const others = await trx
    .selectFrom('known_devices')
    .select('fingerprint')
    .where('person_id', '=', personId)
    .orderBy('last_seen_at', 'desc')
    .execute()
  const forgotten = others.slice(keptDevices).map((row) => row.fingerprint)
  if (forgotten.length > 0) {
    await trx
      .deleteFrom('known_devices')
      .where('person_id', '=', personId)
      .where('fingerprint', 'in', forgotten)
      .execute()
  }
  return others.length === 1 ? 'first' : 'new'
}
