import { sql, type Transaction } from 'kysely'
import { firstIdAt } from '../kernel/ids.ts'
import { planLimitReached, type TenantPlan } from '../kernel/plan-limits.ts'
import type { TenantTables } from './tables.ts'

type Trx = Transaction<TenantTables>

/** What was made today (UTC) has ids from here on: counted by the primary key, it needs no index of its own. */
export const firstIdToday = (): string => firstIdAt(new Date(new Date().setUTCHours(0, 0, 0, 0)))

/** How many there are of what is limited, counted no further than `most`. */
const counters = {
  projects: (most: number) => sql<{ used: number }>`
    select count(*)::int as used from (select 1 from projects limit ${most}) counted`,
  jobsPerDay: (most: number) => sql<{ used: number }>`
    select count(*)::int as used from (select 1 from jobs where id >= ${firstIdToday()} limit ${most}) counted`,
}

/**
 * Throws `plan_limit_reached` unless the plan allows one more. Call it in the transaction that adds it, before it is added,
 * or afterwards, and say so: until that has ended nobody else adds one, so the last one is given once. Without a limit
 * nothing is asked, and nobody waits. `plan` is `tenantPlanOf(request)`.
 */
export const assertPlanLimit = async (
  trx: Trx,
  { limits }: TenantPlan,
  limit: keyof typeof counters,
  when: 'adding' | 'added' = 'adding',
): Promise<void> => {
  const most = limits[limit]
  if (most === null) return
  await sql`select pg_advisory_xact_lock(hashtextextended(${`freehold limit ${limit}`}, 0))`.execute(trx)
  const added = when === 'added' ? 1 : 0
  const { rows } = await counters[limit](most + added).execute(trx)
  const used = (rows[0]?.used ?? 0) - added
  if (used >= most) throw planLimitReached(limit, { most, used })
}
