import { sql } from 'kysely'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { defaultPlan, findPlan, fromLimits, type Plan } from '../../master/plans.ts'
import { isForeignKeyViolation, isUniqueViolation } from '../../master/postgres-errors.ts'
import type { ControlDeps } from '../control-deps.ts'
import type { PlanChange } from './schemas.ts'

type Deps = Pick<ControlDeps, 'db' | 'grants'>
type By = Pick<MasterAuditEntry, 'actor' | 'caller'>

export const noPlan = (): AppError => new AppError('not_found', 'There is no plan with this key.')

const present = (plan: Plan | undefined): Plan => {
  if (plan === undefined) throw noPlan()
  return plan
}

const audit = (trx: MasterTransaction, { id, key }: Plan, action: string, by: By): Promise<void> =>
  writeMasterAudit(trx, {
    ...by,
    action: `plan.${action}`,
    entity: { type: 'plan', id },
    details: { plan: key },
  })

const toColumns = ({ limits = {}, trialDays, selfService, fallsBackTo, ...rest }: PlanChange) => ({
  ...rest,
  ...fromLimits(limits),
  ...(trialDays === undefined ? {} : { trial_days: trialDays }),
  ...(selfService === undefined ? {} : { self_service: selfService }),
  ...(fallsBackTo === undefined ? {} : { falls_back_to: fallsBackTo }),
})

/** What new tenants and those whose plan has ended get must be there, for everybody, without an end. */
const mustServeAll = (plan: Plan): void => {
  if (plan.key !== defaultPlan) return
  if (plan.status === 'active' && plan.trial_days === null && plan.self_service) return
  throw new AppError(
    'conflict',
    `New tenants begin with the plan ${defaultPlan}: it stays active, without a trial, and for everybody to choose.`,
  )
}

const noFallback = (key: string): AppError =>
  new AppError('validation_failed', `There is no plan ${key} to fall back to.`, {
    errors: [{ path: '/fallsBackTo', message: 'is not an active plan' }],
  })

/** Whoever falls must land on a plan that is given out, and not fall in a circle: so only on one that has no end of its own. */
const mustLandWell = async (trx: MasterTransaction, plan: Plan): Promise<void> => {
  const { falls_back_to: key } = plan
  if (key !== null) {
    const next = await findPlan(trx, key)
    if (next?.status !== 'active' || next.trial_days !== null) throw noFallback(key)
  }
  if (plan.status === 'active' && plan.trial_days === null) return
  const above = await trx
    .selectFrom('plans')
    .select('key')
    .where('falls_back_to', '=', plan.key)
    .executeTakeFirst()
  if (above === undefined) return
  throw new AppError(
    'conflict',
    `The plan ${above.key} falls back to ${plan.key}, which therefore stays active and without a trial.`,
  )
}

/** One change of plans at a time: which falls back to which is looked at as a whole. */
const lockPlans = async (trx: MasterTransaction): Promise<void> => {
  await sql`select pg_advisory_xact_lock(hashtextextended('freehold plans', 0))`.execute(trx)
}

/** Makes a plan. Throws `conflict` when the key is taken, and `validation_failed` for a fallback that is none. */
export const createPlan = (
  { db }: Pick<ControlDeps, 'db'>,
  { key, ...wanted }: PlanChange & { key: string; name: string },
  by: By,
): Promise<Plan> =>
  db.transaction().execute(async (trx) => {
    await lockPlans(trx)
    if (wanted.fallsBackTo === key) throw noFallback(key)
    try {
      await trx
        .insertInto('plans')
        .values({ id: newId(), key, ...toColumns(wanted), name: wanted.name.trim() })
        .execute()
    } catch (cause) {
      if (isUniqueViolation(cause, 'plans_key_key')) {
        throw new AppError('conflict', `There is a plan ${key} already; choose another key.`, { cause })
      }
      if (isForeignKeyViolation(cause)) throw noFallback(wanted.fallsBackTo ?? '')
      throw cause
    }
    const plan = present(await findPlan(trx, key))
    await mustLandWell(trx, plan)
    await audit(trx, plan, 'created', by)
    return plan
  })

/** Changes a plan for all who have it. What they have beyond a new limit stays; they only get no more of it. */
export const changePlan = async (
  { db, grants }: Deps,
  key: string,
  change: PlanChange,
  by: By,
): Promise<Plan> => {
  const changed = await db.transaction().execute(async (trx) => {
    await lockPlans(trx)
    if (change.fallsBackTo === key) throw noFallback(key)
    try {
      await trx
        .updateTable('plans')
        .set({ ...toColumns(change), updated_at: sql<Date>`now()` })
        .where('key', '=', key)
        .execute()
    } catch (cause) {
      if (!isForeignKeyViolation(cause)) throw cause
      throw noFallback(change.fallsBackTo ?? '')
    }
    const plan = present(await findPlan(trx, key))
    mustServeAll(plan)
    await mustLandWell(trx, plan)
    await audit(trx, plan, 'updated', by)
    return plan
  })
  grants.forget(`plan:${key}`)
  return changed
}

/** Deletes a plan that nobody has and nobody falls back to. Throws `conflict` for any other. */
export const deletePlan = ({ db }: Pick<ControlDeps, 'db'>, key: string, by: By): Promise<void> =>
  db.transaction().execute(async (trx) => {
    await lockPlans(trx)
    const plan = present(await findPlan(trx, key))
    if (key === defaultPlan) throw new AppError('conflict', 'New tenants begin with this plan: it stays.')
    try {
      await trx.deleteFrom('plans').where('key', '=', key).execute()
    } catch (cause) {
      if (!isForeignKeyViolation(cause)) throw cause
      throw new AppError(
        'conflict',
        'Tenants have this plan, or other plans fall back to it; archive it instead, and nobody gets it any more.',
        { cause },
      )
    }
    await audit(trx, plan, 'deleted', by)
  })
