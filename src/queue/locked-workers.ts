import { type QueryExecutorProvider, sql } from 'kysely'

/** The ids of workers, alive or dead, that hold a job or a queue. */
export const lockingWorkers = async (db: QueryExecutorProvider): Promise<string[]> => {
  const { rows } = await sql<{ id: string }>`
    select locked_by as id from graphile_worker.jobs where locked_by is not null
    union
    select locked_by from graphile_worker._private_job_queues where locked_by is not null`.execute(db)
  return rows.map((row) => row.id)
}

/** Gives the jobs of these workers back to the queue. Only for workers known to be dead: a job must not run twice at once. */
export const unlockWorkers = async (db: QueryExecutorProvider, ids: readonly string[]): Promise<void> => {
  await sql`select graphile_worker.force_unlock_workers(${ids}::text[])`.execute(db)
}
