import { isAppError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { TenantPlan } from '../../kernel/plan-limits.ts'
import { writeSystemAudit } from '../audit-log.ts'
import { putDueSchedulesIn } from '../schedules/due.ts'
import type { TenantDb } from '../tenant-scope.ts'
import { type ClaimedJob, claimJobs, giveBack, type Outlook, readOutlook, rescueJobs } from './claims.ts'
import { NotBegun, withoutWords } from './failures.ts'
import { holdJobs } from './heartbeat.ts'
import type { JobTypes } from './job-type.ts'
import { runJob, type UseTenant } from './run-job.ts'
import type { JobWakeUps } from './wake-ups.ts'

/** A tenant's turn: after so long nothing more is claimed, and the next tenant has its own. */
const turnMs = 250
/** Claimed at once. */
const batchSize = 10
/**
 * What of a batch has not begun by then is put back; a job that was begun is finished. Longer than a turn, so that on a
 * crowded machine a turn still does more than claim and put back.
 */
const batchMs = 1_000
/** Turns of one tenant at once in one process, so that a tenant whose jobs take long leaves room for others. */
const turnsAtOnce = 3
/** Looks for what workers have lost stand on a grid, or a tenant whose jobs take long would be looked at all the time. */
const lostGridSeconds = 3
/** When the tenant's database could not be used. */
const retryMs = 10_000
/** Jobs that could not begin wait for so long. */
const notBegunSeconds = 5

/** How a lost worker, or a try without an end, is noticed. */
export type Patience = Readonly<{
  /** How often a worker says that it still runs a job. */
  heartbeatMs: number
  /** Without a word for so long, a job is taken from its worker. Three words may be lost. */
  staleMs: number
  /** No try of a job may take longer. */
  longestMs: number
}>

const usualPatience: Patience = { heartbeatMs: 5_000, staleMs: 15_000, longestMs: 10 * 60_000 }

export type JobRunnerDeps = Readonly<{
  /** Which worker claims. */
  workerId: string
  use: UseTenant
  /** Asked when a schedule's time has come; undefined for a tenant that is gone. */
  planOf: (tenantId: string) => Promise<TenantPlan | undefined>
  jobTypes: JobTypes
  wakeUps: JobWakeUps
  log: Logger
  patience?: Partial<Patience>
}>

type TurnDeps = JobRunnerDeps & Readonly<{ patience: Patience }>

export type JobRunner = {
  /**
   * Looks into the tenant's database, runs what is due for one turn, and arranges the next look. Throws when that can't be
   * arranged; then look again.
   */
  look(tenantId: string): Promise<void>
}

const rescue = async (db: TenantDb, tenantId: string, log: Logger, staleMs: number): Promise<void> => {
  const rescued = await db.transaction().execute(async (trx) => {
    const jobs = await rescueJobs(trx, staleMs)
    for (const { id, status } of jobs) {
      if (status === 'failed') await writeSystemAudit(trx, 'job.failed', { type: 'job', id })
    }
    return jobs
  })
  if (rescued.length > 0)
    log.warn({ tenantId, jobs: rescued.length }, 'the jobs of a lost worker were taken back')
}

const isDue = (milliseconds: number | null): boolean => milliseconds !== null && milliseconds <= 0

/** Runs these jobs one after another, and puts back what has not begun in time. */
const runBatch = async (
  deps: TurnDeps,
  { tenantId, db }: { tenantId: string; db: TenantDb },
  jobs: readonly ClaimedJob[],
): Promise<void> => {
  const left = [...jobs]
  const { heartbeatMs, longestMs } = deps.patience
  const held = holdJobs(db, jobs, { heartbeatMs, longestMs, onBeat: () => deps.wakeUps.promise(tenantId) })
  const putBack = async (delaySeconds: number): Promise<void> => {
    const rest = left.splice(0)
    await giveBack(db, rest, delaySeconds)
    for (const job of rest) held.drop(job)
  }
  // Also while a long job runs: another turn can have them.
  let puttingBack: Promise<void> | undefined
  const timer = setTimeout(() => {
    puttingBack = putBack(0).catch(() => {})
  }, batchMs)
  try {
    for (let job = left.shift(); job !== undefined; job = left.shift()) {
      try {
        await runJob({ ...deps, tenantId, db }, job, held.begin(job))
      } catch (error) {
        if (error instanceof NotBegun) left.unshift(job)
        throw error
      } finally {
        held.drop(job)
      }
    }
  } catch (error) {
    await putBack(notBegunSeconds)
    throw error
  } finally {
    clearTimeout(timer)
    await puttingBack
    await held.stop()
  }
}

/** One turn. Answers when there will be something to do. */
const takeTurn = async (
  deps: TurnDeps,
  tenantId: string,
  db: TenantDb,
  onMore: () => void,
): Promise<Outlook> => {
  const until = performance.now() + turnMs
  const { staleMs } = deps.patience
  const outlook = await readOutlook(db, staleMs)
  if (isDue(outlook.stale)) await rescue(db, tenantId, deps.log, staleMs)
  const plan = isDue(outlook.scheduled) ? await deps.planOf(tenantId) : undefined
  if (plan !== undefined) await putDueSchedulesIn(db, plan)
  while (performance.now() < until) {
    const jobs = await claimJobs(db, deps.workerId, batchSize)
    if (jobs.length === batchSize) onMore()
    if (jobs.length > 0) await runBatch(deps, { tenantId, db }, jobs)
    if (jobs.length < batchSize) break
  }
  return readOutlook(db, staleMs)
}

const soonest = (...times: (number | null)[]): number | undefined => {
  const known = times.filter((time) => time !== null)
  return known.length === 0 ? undefined : Math.max(0, Math.min(...known))
}

/** Runs tenants' jobs in this process. */
export const createJobRunner = (given: JobRunnerDeps): JobRunner => {
  const deps = { ...given, patience: { ...usualPatience, ...given.patience } }
  const { use, wakeUps, log } = deps
  const turns = new Map<string, { running: number; again: boolean }>()

  const lookAndArrange = async (tenantId: string): Promise<void> => {
    await wakeUps.promise(tenantId)
    const running = (): number => turns.get(tenantId)?.running ?? 0
    const onMore = (): void => {
      if (running() < turnsAtOnce) wakeUps.soon(tenantId)
    }
    let lost: number | null = null
    const next = await use(tenantId, (db) => takeTurn(deps, tenantId, db, onMore)).then(
      ({ queued, stale, scheduled }) => {
        lost = stale
        return soonest(queued, scheduled)
      },
      (error: unknown) => {
        if (isAppError(error, 'not_found')) return undefined
        const cause = error instanceof NotBegun ? error.cause : error
        log.warn({ tenantId, ...withoutWords(cause) }, "a tenant's jobs could not be looked at")
        return retryMs
      },
    )
    // One look for all that run just now, however many looks see them run.
    if (lost !== null) await wakeUps.later(tenantId, Math.max(0, lost), lostGridSeconds)
    if (next === 0) await wakeUps.now(tenantId)
    else if (next !== undefined) await wakeUps.later(tenantId, next)
  }

  return {
    look: async (tenantId) => {
      const turn = turns.get(tenantId) ?? { running: 0, again: false }
      if (turn.running >= turnsAtOnce) {
        turn.again = true
        return
      }
      turn.running += 1
      turns.set(tenantId, turn)
      try {
        await lookAndArrange(tenantId)
      } finally {
        turn.running -= 1
        if (turn.running === 0) turns.delete(tenantId)
      }
      if (!turn.again) return
      turn.again = false
      await wakeUps.now(tenantId)
    },
  }
}
