import { sql } from 'kysely'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { sealedFor } from './secrets.ts'

/**
 * Keeps what a job must know and the queue must not show, sealed under the master key, and answers its id for the job's
 * payload. It goes when the job is done; see docs/decisions/0013.
 */
export const keepSealed = async (trx: MasterTransaction, box: SecretBox, value: unknown): Promise<string> => {
  const id = newId()
  await trx
    .insertInto('sealed_payloads')
    .values({ id, sealed: box.seal(JSON.stringify(value), sealedFor.payload(id)) })
    .execute()
  return id
}

const open = (box: SecretBox, id: string, row: { sealed: Buffer } | undefined): unknown =>
  row && JSON.parse(box.open(row.sealed, sealedFor.payload(id)).toString())

/** What was kept; undefined when the job was done before. */
export const readSealed = async (db: MasterDb, box: SecretBox, id: string): Promise<unknown> =>
  open(
    box,
    id,
    await db.selectFrom('sealed_payloads').select('sealed').where('id', '=', id).executeTakeFirst(),
  )

/** Takes it away with this transaction, so that what the transaction does is done once; undefined when it was taken before. */
export const takeSealed = async (trx: MasterTransaction, box: SecretBox, id: string): Promise<unknown> =>
  open(
    box,
    id,
    await trx.deleteFrom('sealed_payloads').where('id', '=', id).returning('sealed').executeTakeFirst(),
  )

export const dropSealed = async (db: MasterDb, id: string): Promise<void> => {
  await db.deleteFrom('sealed_payloads').where('id', '=', id).execute()
}

/** Removes what jobs that were given up for good have left behind. */
export const dropOldSealed = async (db: MasterDb, days: number): Promise<void> => {
  await db
    .deleteFrom('sealed_payloads')
    .where('created_at', '<', sql<Date>`now() - make_interval(days => ${days})`)
    .execute()
}
