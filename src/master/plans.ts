import { sql } from 'kysely'
import { type PlanLimits, planEnded, planLimitReached, type TenantPlan } from '../kernel/plan-limits.ts'
import type { MasterDb } from './master.ts'

/** The plan a tenant has until somebody who may decide gives it another one; it can't be archived or deleted. */
export const defaultPlan = 'free'

/** The columns with a plan's limits, for queries that join `plans`. */
export const limitColumns = [
  'plans.seats',
  'plans.projects',
  'plans.jobs_per_day',
  'plans.requests_per_minute',
  'plans.connections',
  'plans.storage_bytes',
] as const

type LimitRow = {
  seats: number | null
  projects: number | null
  jobs_per_day: number | null
  requests_per_minute: number | null
  connections: number | null
  storage_bytes: string | null
}

/** Bytes are counted in a `bigint`, which comes as text; they fit into a number up to 8 petabytes. */
export const bytes = (text: string | null): number | null => (text === null ? null : Number(text))

/** The limits of a row with the columns above. */
export const toLimits = (row: LimitRow): PlanLimits => ({
  seats: row.seats,
  projects: row.projects,
  jobsPerDay: row.jobs_per_day,
  requestsPerMinute: row.requests_per_minute,
  connections: row.connections,
  storageBytes: bytes(row.storage_bytes),
})

export const fromLimits = (limits: Partial<PlanLimits>) => ({
  ...(limits.seats === undefined ? {} : { seats: limits.seats }),
  ...(limits.projects === undefined ? {} : { projects: limits.projects }),
  ...(limits.jobsPerDay === undefined ? {} : { jobs_per_day: limits.jobsPerDay }),
  ...(limits.requestsPerMinute === undefined ? {} : { requests_per_minute: limits.requestsPerMinute }),
  ...(limits.connections === undefined ? {} : { connections: limits.connections }),
  ...(limits.storageBytes === undefined
    ? {}
    : { storage_bytes: limits.storageBytes === null ? null : String(limits.storageBytes) }),
})

/** What a request must know of its tenant's plan. */
export const toTenantPlan = (
  row: LimitRow & { plan: string; subscription: string | null; stored: string | null },
): TenantPlan => {
  const limits = toLimits(row)
  const [most, used] = [limits.storageBytes, bytes(row.stored)]
  const full = most !== null && used !== null && used > most
  return {
    key: row.plan,
    limits,
    ...(row.subscription === 'expired'
      ? { readOnly: planEnded() }
      : full
        ? { readOnly: planLimitReached('storageBytes', { most, used }) }
        : {}),
  }
}

/** The plan of a tenant, for work that nobody asks for just now; undefined when there is no such tenant. */
export const findTenantPlan = async (db: MasterDb, tenantId: string): Promise<TenantPlan | undefined> => {
  const row = await db
    .selectFrom('tenants')
    .innerJoin('plans', 'plans.key', 'tenants.plan')
    .leftJoin('subscriptions', 'subscriptions.tenant_id', 'tenants.id')
    .leftJoin('tenant_usage', 'tenant_usage.tenant_id', 'tenants.id')
    .select(limitColumns)
    .select(['tenants.plan', 'subscriptions.status as subscription', 'tenant_usage.storage_bytes as stored'])
    .where('tenants.id', '=', tenantId)
    .executeTakeFirst()
  return row && toTenantPlan(row)
}

export type Plan = NonNullable<Awaited<ReturnType<typeof findPlan>>>

const plans = (db: MasterDb) =>
  db
    .selectFrom('plans')
    .selectAll()
    .select((eb) =>
      eb
        .selectFrom('tenants')
        .select(sql<number>`count(*)::int`.as('tenants'))
        .whereRef('tenants.plan', '=', 'plans.key')
        .as('tenants'),
    )

/** A plan with the number of its tenants, deleted ones among them; undefined when there is none of this key. */
export const findPlan = (db: MasterDb, key: string) => plans(db).where('key', '=', key).executeTakeFirst()

/** Plans, newest first, and one more than `limit` when there are more. */
export const listPlans = (db: MasterDb, page: { limit: number; after: string | undefined }) =>
  plans(db)
    .$if(page.after !== undefined, (query) => query.where('id', '<', page.after ?? ''))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** The plans that a tenant's own people may choose, by name. Few: nobody pages through a price list. */
export const listChoices = (db: MasterDb) =>
  db
    .selectFrom('plans')
    .selectAll()
    .where('status', '=', 'active')
    .where('self_service', '=', true)
    .orderBy('id')
    .limit(100)
    .execute()
