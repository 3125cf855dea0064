import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { sql } from 'kysely'
import { type Clock, systemClock } from '../kernel/clock.ts'
import type { SecretBox } from '../kernel/crypto.ts'
import { type PublicJwk, rawPublic, thumbprint, toJwk } from '../kernel/jws.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { sealedFor } from '../master/secrets.ts'

export type SigningKey = { kid: string; privatePem: string }

/** Minutes that a new key is published before it signs: longer than anybody may keep the list (see the route). */
const publishedMinutes = 10
/** Hours that a key verifies after it has signed its last: longer than the longest token lives. */
const verifiesHours = 25
/** A key is followed by another after so long, without being asked. */
const rotationDays = 90

/** The keys of access tokens: one signs, all that are not yet forgotten verify. */
export type SigningKeys = {
  current(): SigningKey
  /** The PEM public key named by a token's `kid`, or undefined. */
  publicPem(kid: string): string | undefined
  jwks(): { keys: PublicJwk[] }
  /** Another number once a key has gone: what was verified with it before counts no longer. */
  generation(): number
  /** Reads them again, after a change in the master. */
  reload(): Promise<void>
}

const pem = (key: KeyObject): string =>
  String(
    key.export(key.type === 'private' ? { format: 'pem', type: 'pkcs8' } : { format: 'pem', type: 'spki' }),
  )

const insertKey = async (trx: MasterTransaction, box: SecretBox, minutes: number): Promise<string> => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const id = thumbprint(rawPublic(publicKey))
  await trx
    .insertInto('signing_keys')
    .values({
      id,
      algorithm: 'EdDSA',
      public_key: pem(publicKey),
      private_key: box.seal(pem(privateKey), sealedFor.signingKey(id)),
      signs_from: sql<Date>`now() + make_interval(mins => ${minutes})`,
    })
    .execute()
  return id
}

/** One node at a time; the others wait here and then find what it has done. */
const lockKeys = (trx: MasterTransaction) => trx.selectFrom('installation').select('id').forUpdate().execute()

const createFirstKey = (db: MasterDb, box: SecretBox): Promise<void> =>
  db.transaction().execute(async (trx) => {
    await lockKeys(trx)
    const existing = await trx
      .selectFrom('signing_keys')
      .select('id')
      .where('retired_at', 'is', null)
      .executeTakeFirst()
    if (existing === undefined) await insertKey(trx, box, 0)
  })

/** Makes a key that signs in ten minutes, when the one before signs its last. Answers its `kid`. */
const addKey = async (
  trx: MasterTransaction,
  box: SecretBox,
  actor: MasterAuditEntry['actor'],
): Promise<string> => {
  await trx
    .updateTable('signing_keys')
    .set({ retired_at: sql<Date>`now() + make_interval(mins => ${publishedMinutes})` })
    .where('retired_at', 'is', null)
    .execute()
  const id = await insertKey(trx, box, publishedMinutes)
  const entity = { type: 'signing_key', id }
  await writeMasterAudit(trx, { actor, action: 'signing_key.rotated', entity })
  return id
}

/** Rotates the signing key for an operator; no token that is out is refused for it. Answers the new `kid`. */
export const rotateSigningKey = (db: MasterDb, box: SecretBox): Promise<string> =>
  db.transaction().execute(async (trx) => {
    await lockKeys(trx)
    return addKey(trx, box, { kind: 'operator', id: null })
  })

/**
 * For when a private key was seen: the new key signs at once and all others are forgotten, so that every access token that
 * is out is refused, on every node that hears of it. Sessions go on: clients refresh. Answers the new `kid`.
 */
export const replaceSigningKeys = (db: MasterDb, box: SecretBox): Promise<string> =>
  db.transaction().execute(async (trx) => {
    await lockKeys(trx)
    await trx.deleteFrom('signing_keys').execute()
    const id = await insertKey(trx, box, 0)
    const actor = { kind: 'operator', id: null } as const
    await writeMasterAudit(trx, {
      actor,
      action: 'signing_key.replaced',
      entity: { type: 'signing_key', id },
    })
    return id
  })

/** By schedule: follows a key that is 90 days old, and forgets those of which every token has expired. */
export const keepSigningKeys = (db: MasterDb, box: SecretBox): Promise<void> =>
  db.transaction().execute(async (trx) => {
    await lockKeys(trx)
    const due = await trx
      .selectFrom('signing_keys')
      .select('id')
      .where('retired_at', 'is', null)
      .where('created_at', '<', sql<Date>`now() - make_interval(days => ${rotationDays})`)
      .executeTakeFirst()
    if (due !== undefined) await addKey(trx, box, { kind: 'system', id: null })
    await trx
      .deleteFrom('signing_keys')
      .where('retired_at', '<', sql<Date>`now() - make_interval(hours => ${verifiesHours})`)
      .execute()
  })

/** All keys as they are in the master, the one that signs last first. */
const readKeys = async (db: MasterDb, box: SecretBox) => {
  const rows = await db.selectFrom('signing_keys').selectAll().orderBy('signs_from', 'desc').execute()
  return rows.map((row) => ({
    kid: row.id,
    publicPem: row.public_key,
    jwk: toJwk(row.id, row.public_key),
    signsFrom: row.signs_from,
    privatePem: pem(createPrivateKey(box.open(row.private_key, sealedFor.signingKey(row.id)).toString())),
  }))
}

/** Reads the signing keys from the master, making the first one when there is none. Private keys are sealed there. */
export const loadSigningKeys = async (
  db: MasterDb,
  box: SecretBox,
  clock: Clock = systemClock,
): Promise<SigningKeys> => {
  await createFirstKey(db, box)
  let keys = await readKeys(db, box)
  if (keys.length === 0) throw new Error('the master has no signing key')
  let generation = 0
  /** Reads one after the other, so that the last one to be asked for is the last one to be kept. */
  let reading: Promise<void> = Promise.resolve()
  return {
    current: () => {
      const now = clock.now()
      // The clock of this node may be behind the one that made the first key.
      const signing = keys.find(({ signsFrom }) => signsFrom <= now) ?? keys.at(-1)
      if (signing === undefined) throw new Error('the master has no signing key')
      return { kid: signing.kid, privatePem: signing.privatePem }
    },
    publicPem: (kid) => keys.find((key) => key.kid === kid)?.publicPem,
    jwks: () => ({ keys: keys.map(({ jwk }) => jwk) }),
    generation: () => generation,
    reload: () => {
      const read = reading.then(async () => {
        const found = await readKeys(db, box)
        if (found.length === 0) return
        const kept = new Set(found.map(({ kid }) => kid))
        if (!keys.every(({ kid }) => kept.has(kid))) generation += 1
        keys = found
      })
      reading = read.catch(() => {})
      return read
    },
  }
}
