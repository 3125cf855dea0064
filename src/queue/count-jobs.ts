import { type QueryExecutorProvider, sql } from 'kysely'

/** Jobs that wait (for their turn or their time), that run, and that have used up their attempts. */
export type JobCounts = { queued: number; running: number; failed: number }

export const countJobs = async (db: QueryExecutorProvider): Promise<JobCounts> => {
  const { rows } = await sql<JobCounts>`
    select count(*) filter (where locked_at is null and attempts < max_attempts)::int as queued,
           count(*) filter (where locked_at is not null)::int as running,
           count(*) filter (where locked_at is null and attempts >= max_attempts)::int as failed
      from graphile_worker.jobs`.execute(db)
  return rows[0] ?? { queued: 0, running: 0, failed: 0 }
}
