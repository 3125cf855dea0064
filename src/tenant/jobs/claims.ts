import { type Kysely, sql } from 'kysely'
import type { TenantTables } from '../tables.ts'

type Db = Kysely<TenantTables>

/** A job that this worker runs. Only who names its fence can end it. */
export type ClaimedJob = {
  id: string
  type: string
  payload: unknown
  attempts: number
  max_attempts: number
  fence: number
  created_by: string | null
  state: unknown
}

/** Takes up to `limit` due jobs for this worker, in their order; those that another worker just takes are left to it. */
export const claimJobs = async (db: Db, workerId: string, limit: number): Promise<ClaimedJob[]> => {
  const { rows } = await sql<ClaimedJob>`
    with due as (
      select id from jobs where status = 'queued' and run_at <= now()
       order by priority desc, run_at, id limit ${limit} for update skip locked
    ), claimed as (
      update jobs set status = 'running', attempts = attempts + 1, fence = fence + 1, worker_id = ${workerId}::uuid,
             heartbeat_at = now(), started_at = now()
        from due where jobs.id = due.id
      returning jobs.id, type, payload, attempts, max_attempts, fence, created_by, state, priority, run_at
    )
    select id, type, payload, attempts, max_attempts, fence, created_by, state from claimed
     order by priority desc, run_at, id`.execute(db)
  return rows
}

/** What became of a job whose worker was lost. */
export type RescuedJob = { id: string; status: 'queued' | 'failed' }

/**
 * Takes back jobs whose workers have said nothing for too long: they are queued again, or have failed when this was their
 * last attempt, so that a job which kills its workers does not do so for ever.
 */
export const rescueJobs = async (db: Db, staleMs: number): Promise<RescuedJob[]> => {
  const { rows } = await sql<RescuedJob>`
    with stale as (
      select id from jobs
       where status = 'running' and heartbeat_at < now() - make_interval(secs => ${staleMs / 1_000}::float8)
       order by heartbeat_at limit 1000 for update skip locked
    )
    update jobs
       set status = case when attempts < max_attempts then 'queued' else 'failed' end,
           fence = fence + 1, worker_id = null, heartbeat_at = null, run_at = now(),
           error = 'The worker that ran it was lost.',
           finished_at = case when attempts < max_attempts then null else now() end
      from stale where jobs.id = stale.id
    returning jobs.id, jobs.status`.execute(db)
  return rows
}

const idsAndFences = (jobs: readonly ClaimedJob[]) => sql`
  unnest(${jobs.map((job) => job.id)}::uuid[], ${jobs.map((job) => job.fence)}::int[]) as mine (id, fence)`

/** Says that these jobs are still being run, and answers the ids of those that are still this worker's. */
export const beat = async (db: Db, jobs: readonly ClaimedJob[]): Promise<Set<string>> => {
  const { rows } = await sql<{ id: string }>`
    update jobs set heartbeat_at = now() from ${idsAndFences(jobs)}
     where jobs.id = mine.id and jobs.fence = mine.fence and jobs.status = 'running'
    returning jobs.id`.execute(db)
  return new Set(rows.map((row) => row.id))
}

/** Puts jobs back that were claimed and not begun, after `delaySeconds`; the claim counts as no attempt. */
export const giveBack = async (db: Db, jobs: readonly ClaimedJob[], delaySeconds: number): Promise<void> => {
  if (jobs.length === 0) return
  await sql`
    update jobs set status = 'queued', attempts = attempts - 1, worker_id = null, heartbeat_at = null,
           run_at = case when ${delaySeconds} = 0 then run_at else now() + make_interval(secs => ${delaySeconds}) end
      from ${idsAndFences(jobs)}
     where jobs.id = mine.id and jobs.fence = mine.fence and jobs.status = 'running'`.execute(db)
}

/** Milliseconds from now until something is due, negative when it was due before; null: nothing ever. */
export type Outlook = { queued: number | null; stale: number | null; scheduled: number | null }

const millisecondsUntil = (time: ReturnType<typeof sql>) =>
  sql<number | null>`(extract(epoch from ${time} - now()) * 1000)::float8`

/** When this tenant's jobs want to be looked at next: one that waits, one whose worker may be lost, a schedule. */
export const readOutlook = async (db: Db, staleMs: number): Promise<Outlook> => {
  const { rows } = await sql<Outlook>`
    select ${millisecondsUntil(sql`(select min(run_at) from jobs where status = 'queued')`)} as queued,
           ${millisecondsUntil(sql`(select min(heartbeat_at) from jobs where status = 'running') + make_interval(secs => ${staleMs / 1_000}::float8)`)} as stale,
           ${millisecondsUntil(sql`(select min(next_at) from job_schedules)`)} as scheduled`.execute(db)
  return rows[0] ?? { queued: null, stale: null, scheduled: null }
}
