import { sql, type Transaction } from 'kysely'
import { sha256 } from '../../kernel/crypto.ts'
import { type AppError, isAppError } from '../../kernel/errors.ts'
import type { TenantPlan } from '../../kernel/plan-limits.ts'
import { writeSystemAudit } from '../audit-log.ts'
import { insertJob } from '../jobs/queries.ts'
import { scheduleKeyPrefix } from '../jobs/schemas.ts'
import { assertPlanLimit } from '../plan-limits.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'
import { type CronTime, nextTime } from './cron.ts'

type Trx = Transaction<TenantTables>

/** So many at a look; the next look takes the others. */
const atOnce = 50
/** As for jobs that people put in. */
const maxAttempts = 5

/** Null where there is no next time, also for an expression that this release does not read any more. */
export const nextTimeOrNull = (time: CronTime, after: Date): Date | null => {
  try {
    return nextTime(time, after) ?? null
  } catch {
    return null
  }
}

const dueSchedules = (trx: Trx) =>
  trx
    .selectFrom('job_schedules')
    .select([
      'id',
      'type',
      'payload',
      'cron',
      'time_zone',
      'next_at',
      'created_by',
      'left_out_since',
      sql<Date>`now()`.as('now'),
    ])
    .where('next_at', '<=', sql<Date>`now()`)
    .orderBy('next_at')
    .limit(atOnce)
    .forUpdate()
    .skipLocked()
    .execute()

/** Why the plan allows no job more; undefined when it does. */
const refusalOf = async (trx: Trx, plan: TenantPlan): Promise<AppError | undefined> => {
  if (plan.readOnly !== undefined) return plan.readOnly
  try {
    await assertPlanLimit(trx, plan, 'jobsPerDay')
    return undefined
  } catch (error) {
    if (isAppError(error, 'plan_limit_reached')) return error
    throw error
  }
}

type Due = Awaited<ReturnType<typeof dueSchedules>>[number] & { next_at: Date }

/** Passes a time over. Of several in a row the audit log tells the first: a plan may have ended long ago. */
const leaveOut = async (
  trx: Trx,
  { id, next_at, left_out_since }: Due,
  next: { next_at: Date | null },
  { code, message }: AppError,
): Promise<void> => {
  await trx
    .updateTable('job_schedules')
    .set({ ...next, left_out_since: left_out_since ?? next_at })
    .where('id', '=', id)
    .execute()
  if (left_out_since !== null) return
  const details = { time: next_at.toISOString(), code, reason: message }
  await writeSystemAudit(trx, 'schedule.left_out', { type: 'schedule', id }, { details })
}

const putIn = async (trx: Trx, due: Due, next: { next_at: Date | null }): Promise<void> => {
  const { id, type, payload, next_at, created_by } = due
  const key = `${scheduleKeyPrefix}${id}:${next_at.toISOString()}`
  const { job, inserted } = await insertJob(trx, {
    ...{ type, payload, maxAttempts, priority: 0, runAt: undefined, workspaceId: null, scheduleId: id },
    ...{ idempotencyKey: key, bodyHash: sha256(key), createdBy: created_by },
  })
  if (inserted) await writeSystemAudit(trx, 'job.enqueued', { type: 'job', id: job.id })
  await trx
    .updateTable('job_schedules')
    .set({ ...next, last_at: next_at, last_job_id: job.id, left_out_since: null })
    .where('id', '=', id)
    .execute()
}

/**
 * Puts in a job for each schedule whose time has come, and sets its next time, in one transaction: each time has one job.
 * Times that were missed because nobody looked have one job together. Times for which the plan allows no job are left out,
 * and the audit log says why.
 */
export const putDueSchedulesIn = (db: TenantDb, plan: TenantPlan): Promise<void> =>
  db.transaction().execute(async (trx) => {
    for (const { next_at, now, ...schedule } of await dueSchedules(trx)) {
      if (next_at === null) continue
      const due = { ...schedule, next_at, now }
      const next = { next_at: nextTimeOrNull({ cron: due.cron, timeZone: due.time_zone }, now) }
      const refusal = await refusalOf(trx, plan)
      if (refusal === undefined) await putIn(trx, due, next)
      else await leaveOut(trx, due, next, refusal)
    }
  })
