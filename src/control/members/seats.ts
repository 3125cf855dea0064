import { sql } from 'kysely'
import { AppError } from '../../kernel/errors.ts'
import { planEnded, planLimitReached } from '../../kernel/plan-limits.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

/** The seats that are taken: active members who are people. System users and open invitations take none. */
export const countSeats = async (db: MasterDb, tenantId: string): Promise<number> => {
  const { seats } = await db
    .selectFrom('memberships')
    .innerJoin('people', 'people.id', 'memberships.person_id')
    .select(sql<number>`count(*)::int`.as('seats'))
    .where('memberships.tenant_id', '=', tenantId)
    .where('memberships.status', '=', 'active')
    .where('people.kind', '=', 'person')
    .executeTakeFirstOrThrow()
  return seats
}

/**
 * Throws `plan_limit_reached` when the plan has no seat for somebody: who has `taken` it in this transaction, or will have
 * it soon (`wanted`). Call it with the tenant's row locked: whoever takes a seat, or changes the plan, holds that lock.
 */
export const assertSeat = async (
  trx: MasterTransaction,
  tenantId: string,
  seat: 'taken' | 'wanted',
): Promise<void> => {
  const plan = await trx
    .selectFrom('tenants')
    .innerJoin('plans', 'plans.key', 'tenants.plan')
    .leftJoin('subscriptions', 'subscriptions.tenant_id', 'tenants.id')
    .select(['plans.seats', 'subscriptions.status'])
    .where('tenants.id', '=', tenantId)
    .executeTakeFirst()
  if (plan === undefined) throw new AppError('not_found', 'There is no such tenant.')
  if (plan.status === 'expired') throw planEnded()
  if (plan.seats === null) return
  const used = (await countSeats(trx, tenantId)) - (seat === 'taken' ? 1 : 0)
  if (used >= plan.seats) throw planLimitReached('seats', { most: plan.seats, used })
}
