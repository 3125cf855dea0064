import { type QueryExecutorProvider, type RawBuilder, sql } from 'kysely'
import type { TaskName, Tasks } from './tasks.ts'

export type EnqueueOptions = {
  /** Jobs with one key coalesce: a waiting one is replaced; one that already runs is followed by this one. */
  jobKey?: string
  /** Not before this time; default now. */
  runAt?: Date
  /** Attempts before the job is given up, with exponential pauses between them; default 25, about three days. */
  maxAttempts?: number
  /** Jobs in one queue run one after another, over all nodes. */
  queue?: string
}

/** The call that adds a job, as an expression for a statement that does more than that. */
export const addJob = <Name extends TaskName>(
  task: Name,
  payload: Tasks[Name],
  options: EnqueueOptions = {},
): RawBuilder<unknown> => sql`
    graphile_worker.add_job(
      identifier => ${task}::text,
      payload => ${JSON.stringify(payload)}::json,
      queue_name => ${options.queue ?? null}::text,
      run_at => ${options.runAt ?? null}::timestamptz,
      max_attempts => ${options.maxAttempts ?? null}::int,
      job_key => ${options.jobKey ?? null}::text)`

/**
 * Adds a job inside the caller's transaction: it runs when that commits, and never when it rolls back. A `jobKey` makes
 * transactions with the same key wait for one another from here to their commit, so enqueue last.
 */
export const enqueue = async <Name extends TaskName>(
  trx: QueryExecutorProvider,
  task: Name,
  payload: Tasks[Name],
  options: EnqueueOptions = {},
): Promise<void> => {
  await sql`select ${addJob(task, payload, options)}`.execute(trx)
}

/** The keys among `jobKeys` for which a job waits or runs; what has used up its attempts counts as neither. */
export const queuedJobKeys = async (
  db: QueryExecutorProvider,
  jobKeys: readonly string[],
): Promise<Set<string>> => {
  const { rows } = await sql<{ key: string }>`
    select key from graphile_worker.jobs
     where key = any(${jobKeys}::text[]) and (attempts < max_attempts or locked_at is not null)`.execute(db)
  return new Set(rows.map((row) => row.key))
}
