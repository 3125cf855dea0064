import { sql } from 'kysely'
import type { MemberScope } from '../../http/guards.ts'
import { AppError } from '../../kernel/errors.ts'
import { overLimit, type PlanLimit, type PlanLimits } from '../../kernel/plan-limits.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { bytes, findPlan, type Plan, toLimits } from '../../master/plans.ts'
import { findOffer, findSubscription, setTerms, type Terms, trialEnd } from '../../master/subscriptions.ts'
import { lockTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { inLockedTenant } from '../members/flows.ts'
import { countSeats } from '../members/seats.ts'

type Who = Pick<MemberScope, 'tenantId' | 'personId' | 'actor' | 'caller'>
type By = Pick<MasterAuditEntry, 'actor' | 'caller'>

const planOf = async (db: MasterDb, tenantId: string): Promise<string> =>
  (await db.selectFrom('tenants').select('plan').where('id', '=', tenantId).executeTakeFirstOrThrow()).plan

export const setPlan = async (trx: MasterTransaction, tenantId: string, key: string): Promise<void> => {
  await trx
    .updateTable('tenants')
    .set({ plan: key, updated_at: sql<Date>`now()` })
    .where('id', '=', tenantId)
    .execute()
}

/** Writes what a tenant has now, and what it had before. */
export const auditSubscription = (
  trx: MasterTransaction,
  action: 'changed' | 'ended',
  tenantId: string,
  { plan, before }: { plan: string; before: string },
  by: By,
): Promise<void> =>
  writeMasterAudit(trx, {
    ...by,
    action: `subscription.${action}`,
    entity: { type: 'tenant', id: tenantId },
    tenantId,
    details: { plan, before },
  })

/** What a tenant has in its own database, as far as plans limit it; undefined while that can't be asked. */
export type ReadTenantCounts = (
  tenantId: string,
) => Promise<Readonly<{ projects: number; connections: number; jobsToday: number }> | undefined>

const storedBytes = async (db: MasterDb, tenantId: string): Promise<number> => {
  const row = await db
    .selectFrom('tenant_usage')
    .select('storage_bytes')
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()
  return bytes(row?.storage_bytes ?? null) ?? 0
}

/** Throws `conflict`, with all that is too much, when a tenant has more than these limits allow. */
const mustFit = async (
  trx: MasterTransaction,
  tenantId: string,
  limits: PlanLimits,
  projects: number,
): Promise<void> => {
  const used = {
    seats: await countSeats(trx, tenantId),
    projects,
    storageBytes: await storedBytes(trx, tenantId),
  }
  const errors = Object.entries(used).flatMap(([name, count]) => {
    const most = limits[name as PlanLimit]
    return most !== null && count > most ? [overLimit(name as PlanLimit, { most, used: count })] : []
  })
  if (errors.length === 0) return
  const what = errors.map(({ path, message }) => `${path.slice(1)}: ${message}`).join('; ')
  throw new AppError('conflict', `The tenant has more than this plan allows (${what}); free some first.`, {
    errors,
  })
}

type ChooseDeps = Pick<ControlDeps, 'db' | 'grants' | 'billing' | 'readTenantCounts'>

/** On what terms an Admin's choice begins. Throws `conflict` for a second trial. */
const chosenTerms = async (
  trx: MasterTransaction,
  { billing }: ChooseDeps,
  { tenantId, personId }: Who,
  plan: Plan,
): Promise<Terms> => {
  const trials = (await findSubscription(trx, tenantId))?.trials ?? []
  const tried = trials.includes(plan.key)
  const endsAt = trialEnd(plan)
  if (endsAt !== null && !tried) return { status: 'trialing', endsAt, trial: true }
  if (billing !== undefined) {
    return {
      status: 'active',
      endsAt: await billing.paidUntil(trx, { tenantId, plan, personId }),
      trial: false,
    }
  }
  if (!tried) return { status: 'active', endsAt: null, trial: false }
  throw new AppError('conflict', `The trial of ${plan.name} was used; ask the operator for the plan itself.`)
}

/**
 * Takes another plan for a tenant, as one of its Admins. The plan it has already changes nothing, unless that has expired.
 * Throws `conflict` when the tenant has more than the new plan allows, or has tried it before.
 */
export const choosePlan = async (deps: ChooseDeps, who: Who, key: string): Promise<void> => {
  const { tenantId } = who
  const wanted = await findOffer(deps.db, key, 'self')
  let projects = 0
  if (wanted.projects !== null) {
    const counts = await deps.readTenantCounts(tenantId)
    if (counts === undefined) {
      throw new AppError('database_unavailable', "The tenant's projects can't be counted now; try again.")
    }
    projects = counts.projects
  }
  await inLockedTenant(deps.db, who, 'tenant-api:billing:update', async (trx) => {
    const before = await planOf(trx, tenantId)
    const expired = (await findSubscription(trx, tenantId))?.status === 'expired'
    if (before === key && !expired) return
    // Again, in the transaction: it may have been archived meanwhile.
    const plan = await findOffer(trx, key, 'self')
    await mustFit(trx, tenantId, toLimits(plan), projects)
    const terms = await chosenTerms(trx, deps, who, plan)
    await setPlan(trx, tenantId, key)
    await setTerms(trx, { tenantId, plan, by: who.personId }, terms)
    await auditSubscription(trx, 'changed', tenantId, { plan: key, before }, who)
  })
  deps.grants.forget(`tenant:${tenantId}`)
}

/**
 * Gives a tenant a plan, as a platform admin: any active one, or (with new terms) the one it has. Also one whose limits it
 * is beyond: it loses nothing, and gets no more of what is too much.
 */
export const givePlan = async (
  deps: Pick<ControlDeps, 'db' | 'grants'>,
  tenantId: string,
  wanted: { plan: string; expiresAt?: string | null; trial?: boolean },
  by: By & { actor: { id: string | null } },
): Promise<void> => {
  await deps.db.transaction().execute(async (trx) => {
    const tenant = await lockTenant(trx, tenantId)
    if (tenant === undefined || tenant.status === 'deleted') throw refusalOfStatus('deleted')
    const before = await planOf(trx, tenantId)
    const plan =
      before === wanted.plan ? await findPlan(trx, before) : await findOffer(trx, wanted.plan, 'platform')
    if (plan === undefined) throw new Error('the tenant has no plan')
    const { trial = false, expiresAt } = wanted
    const endsAt = expiresAt ? new Date(expiresAt) : trial ? trialEnd(plan) : null
    if (endsAt !== null && endsAt.getTime() <= Date.now()) throw past('/expiresAt')
    if (trial && endsAt === null) throw past('/trial')
    await setPlan(trx, tenantId, plan.key)
    await setTerms(
      trx,
      { tenantId, plan, by: by.actor.id },
      { status: trial ? 'trialing' : 'active', endsAt, trial },
    )
    await auditSubscription(trx, 'changed', tenantId, { plan: plan.key, before }, by)
  })
  deps.grants.forget(`tenant:${tenantId}`)
}

const past = (path: '/expiresAt' | '/trial'): AppError =>
  path === '/trial'
    ? new AppError('validation_failed', 'This plan has no trial; say in expiresAt when it ends.', {
        errors: [{ path, message: 'needs an end' }],
      })
    : new AppError('validation_failed', 'The plan would have ended already; choose a time to come.', {
        errors: [{ path, message: 'must be in the future' }],
      })
