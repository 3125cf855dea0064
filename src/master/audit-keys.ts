import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { SecretBox } from '../kernel/crypto.ts'
import { type PublicJwk, rawPublic, thumbprint, toJwk } from '../kernel/jws.ts'
import type { MasterDb } from './master.ts'
import { sealedFor } from './secrets.ts'

/** What signs how far tenants' audit logs are sealed. */
export type AuditKey = Readonly<{ kid: string; privateKey: KeyObject }>

const newest = (db: MasterDb) =>
  db
    .selectFrom('audit_keys')
    .select(['id', 'private_key'])
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst()

const createKey = async (db: MasterDb, box: SecretBox): Promise<void> => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const id = thumbprint(rawPublic(publicKey))
  await db
    .insertInto('audit_keys')
    .values({
      id,
      public_key: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      private_key: box.seal(
        privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
        sealedFor.auditKey(id),
      ),
    })
    .execute()
}

/** The key that signs; made when there is none. From many nodes at once too. */
export const loadAuditKey = (db: MasterDb, box: SecretBox): Promise<AuditKey> =>
  db.transaction().execute(async (trx) => {
    let row = await newest(trx)
    if (row === undefined) {
      await trx.selectFrom('installation').select('id').forUpdate().execute()
      if ((await newest(trx)) === undefined) await createKey(trx, box)
      row = await newest(trx)
    }
    if (row === undefined) throw new Error('the master has no key for audit logs')
    const pem = box.open(row.private_key, sealedFor.auditKey(row.id)).toString()
    return { kid: row.id, privateKey: createPrivateKey(pem) }
  })

/** All that ever signed, newest first: none is forgotten, because a checkpoint may be years old. */
export const auditJwks = async (db: MasterDb): Promise<{ keys: PublicJwk[] }> => {
  const rows = await db
    .selectFrom('audit_keys')
    .select(['id', 'public_key'])
    .orderBy('created_at', 'desc')
    .execute()
  return { keys: rows.map((row) => toJwk(row.id, row.public_key)) }
}
