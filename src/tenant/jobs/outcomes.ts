import { type Kysely, sql, type Transaction } from 'kysely'
import type { TenantTables } from '../tables.ts'
import type { ClaimedJob } from './claims.ts'
import type { Progress } from './job-type.ts'
import { jsonb } from './queries.ts'

type Db = Kysely<TenantTables>
type Trx = Transaction<TenantTables>

/** A running job of this fence and no other: whoever was overtaken matches nothing. */
const mine = (db: Db, { id, fence }: ClaimedJob) =>
  db.updateTable('jobs').where('id', '=', id).where('fence', '=', fence).where('status', '=', 'running')

/**
 * Marks the job as done, in the transaction of its effect and as its last statement but for the audit. False: it is no
 * longer this worker's, and the transaction must not be committed.
 */
export const succeed = async (
  trx: Trx,
  job: ClaimedJob,
  result: unknown,
  progress: Progress | undefined,
): Promise<boolean> => {
  const { numUpdatedRows } = await mine(trx, job)
    .set({
      status: 'succeeded',
      result: jsonb(result),
      ...(progress === undefined ? {} : { progress: jsonb(progress) }),
      error: null,
      worker_id: null,
      heartbeat_at: null,
      finished_at: sql<Date>`now()`,
    })
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}

/**
 * Keeps what the next step goes on from, in the transaction of this step's effect. False: the job is no longer this
 * worker's, and the transaction must not be committed.
 */
export const keepStep = async (
  trx: Trx,
  job: ClaimedJob,
  state: unknown,
  progress: Progress | undefined,
): Promise<boolean> => {
  const { numUpdatedRows } = await mine(trx, job)
    .set({ state: jsonb(state), ...(progress === undefined ? {} : { progress: jsonb(progress) }) })
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}

/** Pauses before the second, third, … try, in seconds, before the jitter. The last is repeated. */
const pauses = [5, 20, 80, 320, 1280, 3600]

/** Seconds to wait after this many attempts: growing, and never the same for many that failed together. */
export const pauseAfter = (attempts: number, random: () => number = Math.random): number => {
  const pause = pauses[Math.min(Math.max(attempts, 1), pauses.length) - 1] ?? 3600
  return pause * (0.5 + random() / 2)
}

/** Ends the try: queued again after a pause, or failed when it was the last one or `final`. Undefined: no longer ours. */
export const failTry = async (
  trx: Trx,
  job: ClaimedJob,
  error: string,
  final: boolean,
): Promise<'queued' | 'failed' | undefined> => {
  const status = final || job.attempts >= job.max_attempts ? 'failed' : 'queued'
  const pause = pauseAfter(job.attempts)
  const { numUpdatedRows } = await mine(trx, job)
    .set({
      status,
      error,
      worker_id: null,
      heartbeat_at: null,
      ...(status === 'failed'
        ? { finished_at: sql<Date>`now()` }
        : { run_at: sql<Date>`now() + make_interval(secs => ${pause})` }),
    })
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n ? status : undefined
}

/** Keeps how far it is, for readers; no part of its effect. */
export const keepProgress = async (db: Db, job: ClaimedJob, progress: Progress): Promise<void> => {
  await mine(db, job)
    .set({ progress: jsonb(progress) })
    .execute()
}
