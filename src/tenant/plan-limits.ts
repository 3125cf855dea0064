import { sql, type Transaction } from 'kysely'
import { planLimitReached, type TenantPlan } from '../kernel/plan-limits.ts'
import type { TenantTables } from './tables.ts'

type Trx = Transaction<TenantTables>

/** How many there are of what is limited, counted no further than `most`. */
const counters = {
  projects: (most: number) => sql<{ used: number }>`
    select count(*)::int as used from (select 1 from projects limit ${most}) counted`,
} as const satisfies Record<string, (most: number) => ReturnType<typeof sql<{ used: number }>>>

/**
 * Throws `plan_limit_reached` unless the plan allows one more. Call it in the transaction that adds it, before it is added:
 * until that has ended nobody else adds one, so the last one is given once. Without a limit nothing is asked, and nobody
 * waits. `plan` is `tenantPlanOf(request)`.
 */
export const assertPlanLimit = async (
  trx: Trx,
  { limits }: TenantPlan,
  limit: keyof typeof counters,
): Promise<void> => {
  const most = limits[limit]
  if (most === null) return
  await sql`select pg_advisory_xact_lock(hashtextextended(${`freehold limit ${limit}`}, 0))`.execute(trx)
  const { rows } = await counters[limit](most).execute(trx)
  const used = rows[0]?.used ?? most
  if (used >= most) throw planLimitReached(limit, { most, used })
}
