import { type Selectable, sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { findPlan, type Plan } from './plans.ts'
import type { SubscriptionsTable } from './tables.ts'

export type Subscription = Selectable<SubscriptionsTable>

/** The subscription of a tenant; undefined for one that has its plan without an end and never had another. */
export const findSubscription = (db: MasterDb, tenantId: string): Promise<Subscription | undefined> =>
  db.selectFrom('subscriptions').selectAll().where('tenant_id', '=', tenantId).executeTakeFirst()

const refusePlan = (why: string): AppError =>
  new AppError('validation_failed', `${why}; GET /plans lists what can be chosen.`, {
    errors: [{ path: '/plan', message: 'is not a plan that can be chosen' }],
  })

/** An active plan. `self`: one that people choose for themselves; others are not told apart from none. */
export const findOffer = async (db: MasterDb, key: string, chosenBy: 'self' | 'platform'): Promise<Plan> => {
  const plan = await findPlan(db, key)
  if (plan?.status === 'active' && (chosenBy === 'platform' || plan.self_service)) return plan
  throw refusePlan('There is no such plan')
}

/** When a trial that begins now ends; null: the plan has none. */
export const trialEnd = ({ trial_days: days }: Plan): Date | null =>
  days === null ? null : new Date(Date.now() + days * 86_400_000)

export type Terms = { status: Subscription['status']; endsAt: Date | null; trial: boolean }

/** Writes on what terms a tenant has its plan. Whatever was tried before stays tried. */
export const setTerms = async (
  trx: MasterTransaction,
  { tenantId, plan, by }: { tenantId: string; plan: Pick<Plan, 'key'>; by: string | null },
  { status, endsAt, trial }: Terms,
): Promise<void> => {
  const row = {
    status,
    ends_at: endsAt,
    warned_of: null,
    changed_by: by,
    changed_at: sql<Date>`now()`,
  }
  const tried = trial ? [plan.key] : []
  await trx
    .insertInto('subscriptions')
    .values({ ...row, tenant_id: tenantId, trials: tried })
    .onConflict((conflict) =>
      conflict.column('tenant_id').doUpdateSet({
        ...row,
        trials: sql`array(select distinct unnest(subscriptions.trials || ${tried}::text[]))`,
      }),
    )
    .execute()
}

/**
 * Until when a plan is paid that somebody has chosen outside of a trial (null: without an end), or throws what they shall
 * read. Asked in the transaction in which the tenant takes it.
 */
export type PaidUntil = (
  trx: MasterTransaction,
  wanted: { tenantId: string; plan: Plan; personId: string },
) => Promise<Date | null>

/** Gives a new tenant's plan its trial, or its end when it is `paid`, in the transaction that creates the tenant. */
export const beginSubscription = async (
  trx: MasterTransaction,
  { tenantId, plan, by }: { tenantId: string; plan: Plan; by: string | null },
  paid: PaidUntil | undefined,
): Promise<void> => {
  const endsAt = trialEnd(plan)
  if (endsAt !== null) {
    await setTerms(trx, { tenantId, plan, by }, { status: 'trialing', endsAt, trial: true })
  } else if (paid !== undefined && by !== null) {
    const until = await paid(trx, { tenantId, plan, personId: by })
    await setTerms(trx, { tenantId, plan, by }, { status: 'active', endsAt: until, trial: false })
  }
}
