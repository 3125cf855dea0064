import { sql, type Transaction } from 'kysely'
import { type KeyStore, keyHours } from '../http/idempotency.ts'
import { newId } from '../kernel/ids.ts'
import type { TenantTables } from './tables.ts'
import type { TenantDb } from './tenant-scope.ts'

type Trx = Transaction<TenantTables>

/** A new key clears away at most so many old ones: nobody else tidies up in a tenant's database. */
const clearedAtOnce = 100

/** Ones that another transaction clears away or takes over are left to it, so that nobody waits for anybody. */
const clearExpired = async (trx: Trx): Promise<void> => {
  await trx
    .deleteFrom('idempotency_keys')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('idempotency_keys')
        .select('id')
        .where('expires_at', '<=', sql<Date>`now()`)
        .orderBy('expires_at')
        .limit(clearedAtOnce)
        .forUpdate()
        .skipLocked(),
    )
    .execute()
}

/** Remembers what was created in this tenant's database. */
export const tenantKeys = (db: TenantDb): KeyStore<Trx> => {
  const transaction = <T>(work: (trx: Trx) => Promise<T>): Promise<T> => db.transaction().execute(work)
  return {
    plainly: transaction,
    transaction,
    async find({ scopeHash }) {
      const row = await db
        .selectFrom('idempotency_keys')
        .select(['body_hash', 'answer'])
        .where('scope_hash', '=', scopeHash)
        .where('expires_at', '>', sql<Date>`now()`)
        .executeTakeFirst()
      return row && { bodyHash: row.body_hash, answer: row.answer }
    },
    async claim(trx, { scopeHash, bodyHash }) {
      const fresh = {
        id: newId(),
        body_hash: bodyHash,
        answer: null,
        expires_at: sql<Date>`now() + make_interval(hours => ${keyHours})`,
      }
      const row = await trx
        .insertInto('idempotency_keys')
        .values({ ...fresh, scope_hash: scopeHash })
        .onConflict((conflict) =>
          conflict
            .column('scope_hash')
            .doUpdateSet(fresh)
            .where('idempotency_keys.expires_at', '<=', sql<Date>`now()`),
        )
        .returning('id')
        .executeTakeFirst()
      if (row !== undefined) await clearExpired(trx)
      return row?.id
    },
    async keep(trx, id, answer) {
      await trx
        .updateTable('idempotency_keys')
        .set({ answer: sql`${JSON.stringify(answer)}::jsonb` })
        .where('id', '=', id)
        .execute()
    },
  }
}
