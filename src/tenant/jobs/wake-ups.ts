import { sql, type Transaction } from 'kysely'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

/**
 * How a tenant's database gets a worker to look at its jobs. The promises are kept outside of it, where workers see them
 * without opening every tenant's database; they name the tenant and nothing of its own.
 */
export type JobWakeUps = {
  /**
   * When it resolves, a worker will look at this tenant at some time between 15 and 25 seconds from now, whatever becomes
   * of this process. Throws when that can't be promised.
   */
  promise(tenantId: string): Promise<void>
  /** A look after so many milliseconds and at most a step of the grid (1 s) more, whatever becomes of this process. */
  later(tenantId: string, milliseconds: number, gridSeconds?: number): Promise<void>
  /** A look as soon as it is the tenant's turn. */
  now(tenantId: string): Promise<void>
  /** The same for those who do not wait for it and have a promise if it fails. */
  soon(tenantId: string): void
}

/**
 * What may follow the promise before the transaction is committed, together less than 15 s: 5 s of waiting for a connection
 * (the router's limit), this, and one statement of the limit itself.
 */
const transactionMs = 8_000

/** So that the transaction can't commit when the promised look is over. Servers before 17 bound each statement and pause. */
export const limitTransaction = async (trx: Transaction<TenantTables>): Promise<void> => {
  const limit = String(transactionMs)
  const part = String(transactionMs / 4)
  await sql`
    select set_config('statement_timeout', ${part}, true), set_config('idle_in_transaction_session_timeout', ${part}, true),
           case when current_setting('server_version_num')::int >= 170000 then set_config('transaction_timeout', ${limit}, true) end
  `.execute(trx)
}

/**
 * A transaction that may put in jobs: a worker looks at them soon after its commit, and at the latest 25 seconds after its
 * beginning when this process dies in between. Throws what `work` throws, and when no look can be promised.
 */
export const transactionWithJobs = async <T>(
  wakeUps: JobWakeUps,
  { tenantId, db }: { tenantId: string; db: TenantDb },
  work: (trx: Transaction<TenantTables>) => Promise<T>,
): Promise<T> => {
  await wakeUps.promise(tenantId)
  const done = await db.transaction().execute(async (trx) => {
    await limitTransaction(trx)
    return work(trx)
  })
  wakeUps.soon(tenantId)
  return done
}
