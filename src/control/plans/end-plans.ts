import { sql } from 'kysely'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findPlan } from '../../master/plans.ts'
import { findSubscription, setTerms } from '../../master/subscriptions.ts'
import { lockTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { mailAdmins } from '../members/admins.ts'
import { auditSubscription, setPlan } from './subscription.ts'

/** So many days before a plan ends its Admins are told. */
const warningDays = 3
/** Tenants looked at by one run; those that are left come with the next, a minute later. */
const atOnce = 1_000

type Deps = Pick<ControlDeps, 'db' | 'box' | 'publicUrl'>

const inDays = (days: number) => sql<Date>`now() + make_interval(days => ${days})`

/** Subscriptions with an end, of tenants that are not deleted. */
const ending = (db: MasterDb) =>
  db
    .selectFrom('subscriptions')
    .innerJoin('tenants', 'tenants.id', 'subscriptions.tenant_id')
    .select('subscriptions.tenant_id')
    .where('subscriptions.status', '<>', 'expired')
    .where('tenants.status', '<>', 'deleted')
    .orderBy('subscriptions.ends_at')
    .limit(atOnce)

const over = (db: MasterDb) => ending(db).where('subscriptions.ends_at', '<=', inDays(0))
const soon = (db: MasterDb) =>
  ending(db)
    .where('subscriptions.ends_at', '>', inDays(0))
    .where('subscriptions.ends_at', '<=', inDays(warningDays))
    .where('subscriptions.warned_of', 'is distinct from', sql.ref<Date>('subscriptions.ends_at'))

/** What a letter and a decision need of a tenant, behind its lock. */
const look = async (trx: MasterTransaction, { publicUrl }: Deps, tenantId: string) => {
  const tenant = await trx
    .selectFrom('tenants')
    .select(['name', 'plan'])
    .where('id', '=', tenantId)
    .executeTakeFirstOrThrow()
  const plan = await findPlan(trx, tenant.plan)
  const subscription = await findSubscription(trx, tenantId)
  if (plan === undefined || !subscription?.ends_at) throw new Error('a plan without an end was to be ended')
  const next = plan.falls_back_to === null ? undefined : await findPlan(trx, plan.falls_back_to)
  const letter = {
    link: `${publicUrl}/console/`,
    tenant: tenant.name,
    plan: plan.name,
    until: subscription.ends_at.toISOString(),
    next: next?.name ?? null,
  }
  return { plan, next, letter }
}

/** Ends a tenant's plan: the next one follows, without an end, or everything can only be read and deleted. */
const end = async (trx: MasterTransaction, deps: Deps, tenantId: string): Promise<void> => {
  const { plan, next, letter } = await look(trx, deps, tenantId)
  if (next === undefined) {
    await trx
      .updateTable('subscriptions')
      .set({ status: 'expired', changed_by: null, changed_at: sql<Date>`now()` })
      .where('tenant_id', '=', tenantId)
      .execute()
  } else {
    await setPlan(trx, tenantId, next.key)
    await setTerms(trx, { tenantId, plan: next, by: null }, { status: 'active', endsAt: null, trial: false })
  }
  const by = { actor: { kind: 'system', id: null } } as const
  await auditSubscription(trx, 'ended', tenantId, { plan: next?.key ?? plan.key, before: plan.key }, by)
  await mailAdmins(trx, deps, tenantId, { kind: 'plan-ended', ...letter })
}

const warn = async (trx: MasterTransaction, deps: Deps, tenantId: string): Promise<void> => {
  const { letter } = await look(trx, deps, tenantId)
  await trx
    .updateTable('subscriptions')
    .set({ warned_of: sql<Date>`ends_at` })
    .where('tenant_id', '=', tenantId)
    .execute()
  await mailAdmins(trx, deps, tenantId, { kind: 'plan-ending', ...letter })
}

/** Does `work` with each tenant that is `due`, one transaction each, and asks again behind the tenant's lock whether it is. */
const each = async (deps: Deps, due: typeof over, work: typeof end): Promise<unknown[]> => {
  const errors: unknown[] = []
  for (const { tenant_id: tenantId } of await due(deps.db).execute()) {
    const one = deps.db.transaction().execute(async (trx) => {
      await lockTenant(trx, tenantId)
      const still = await due(trx).where('subscriptions.tenant_id', '=', tenantId).executeTakeFirst()
      if (still !== undefined) await work(trx, deps, tenantId)
    })
    await one.catch((error: unknown) => errors.push(error))
  }
  return errors
}

/**
 * Ends the trials and plans whose time is over, and tells the Admins of those that end soon. Killed at any point it goes on
 * with the next run, and nothing is done or mailed twice. One tenant's fault keeps no other waiting; then it throws.
 */
export const endPlans = async (deps: Deps): Promise<void> => {
  const errors = [...(await each(deps, over, end)), ...(await each(deps, soon, warn))]
  if (errors.length > 0) throw errors[0]
}
