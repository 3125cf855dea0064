import { sql } from 'kysely'
import { type KeyStore, keyHours } from '../http/idempotency.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb } from '../master/master.ts'
import { sealedFor } from '../master/secrets.ts'
import type { ControlDeps } from './control-deps.ts'

/** Remembers what was created in the master. Without a key nothing begins a transaction that need not. */
export const masterKeys = ({ db, box }: Pick<ControlDeps, 'db' | 'box'>): KeyStore<MasterDb> => ({
  plainly: (work) => work(db),
  transaction: (work) => db.transaction().execute(work),
  async find({ scopeHash }) {
    const row = await db
      .selectFrom('idempotency_keys')
      .select(['id', 'body_hash', 'answer'])
      .where('scope_hash', '=', scopeHash)
      .where('expires_at', '>', sql<Date>`now()`)
      .executeTakeFirst()
    if (row === undefined) return undefined
    if (row.answer === null) throw new Error('a key without its answer was committed')
    const answer = JSON.parse(box.open(row.answer, sealedFor.answer(row.id)).toString()) as unknown
    return { bodyHash: row.body_hash, answer }
  },
  async claim(trx, { scopeHash, bodyHash, personId, tenantId }) {
    const fresh = {
      id: newId(),
      body_hash: bodyHash,
      answer: null,
      expires_at: sql<Date>`now() + make_interval(hours => ${keyHours})`,
    }
    const row = await trx
      .insertInto('idempotency_keys')
      .values({ ...fresh, scope_hash: scopeHash, person_id: personId, tenant_id: tenantId })
      .onConflict((conflict) =>
        conflict
          .column('scope_hash')
          .doUpdateSet(fresh)
          .where('idempotency_keys.expires_at', '<=', sql<Date>`now()`),
      )
      .returning('id')
      .executeTakeFirst()
    return row?.id
  },
  async keep(trx, id, answer) {
    await trx
      .updateTable('idempotency_keys')
      .set({ answer: box.seal(JSON.stringify(answer), sealedFor.answer(id)) })
      .where('id', '=', id)
      .execute()
  },
})
