import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { unknownWorkspace } from '../projects/queries.ts'
import type { JobsTable, TenantTables } from '../tables.ts'

type Db = Kysely<TenantTables>
type Trx = Transaction<TenantTables>

const summaryColumns = [
  ...(['id', 'type', 'status', 'priority', 'run_at', 'attempts', 'max_attempts', 'idempotency_key'] as const),
  ...(['workspace_id', 'schedule_id', 'progress', 'error', 'created_by', 'created_at'] as const),
  ...(['started_at', 'finished_at'] as const),
] as const
const columns = [...summaryColumns, 'payload', 'result'] as const

export type JobRow = NonNullable<Awaited<ReturnType<typeof findJob>>>
export type JobSummaryRow = Omit<JobRow, 'payload' | 'result'>
export type JobStatus = Selectable<JobsTable>['status']

/** JSON as a value of a statement. */
export const jsonb = (value: unknown) => sql<Record<string, unknown>>`${JSON.stringify(value ?? null)}::jsonb`

export const findJob = (db: Db, id: string) =>
  db.selectFrom('jobs').select(columns).where('id', '=', id).executeTakeFirst()

export type JobFilter = {
  limit: number
  after: string | undefined
  status: JobStatus | undefined
  type: string | undefined
  workspaceId: string | undefined
  scheduleId: string | undefined
}

/** Jobs that fit the filter, newest first, beginning after the one with id `after`. */
export const listJobs = (db: Db, filter: JobFilter) => {
  let query = db.selectFrom('jobs').select(summaryColumns).orderBy('id', 'desc').limit(filter.limit)
  if (filter.after !== undefined) query = query.where('id', '<', filter.after)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.type !== undefined) query = query.where('type', '=', filter.type)
  if (filter.workspaceId !== undefined) query = query.where('workspace_id', '=', filter.workspaceId)
  if (filter.scheduleId !== undefined) query = query.where('schedule_id', '=', filter.scheduleId)
  return query.execute()
}

export type NewJob = {
  type: string
  payload: unknown
  idempotencyKey: string
  bodyHash: Buffer
  maxAttempts: number
  priority: number
  runAt: Date | undefined
  workspaceId: string | null
  scheduleId: string | null
  createdBy: string | null
}

/** What is not there breaks the foreign key. */
const refuseUnknownWorkspace = (error: unknown): never => {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown }
  if (code !== '23503' || constraint !== 'jobs_workspace_id_fkey') throw error
  throw unknownWorkspace(error)
}

/**
 * Puts the job in, or answers the one that has its key already. Waits for another transaction that is just putting in the
 * same key. Throws `idempotency_mismatch` when that one asks for something else.
 */
export const insertJob = async (trx: Trx, job: NewJob): Promise<{ job: JobRow; inserted: boolean }> => {
  const inserted = await trx
    .insertInto('jobs')
    .values({
      id: newId(),
      type: job.type,
      payload: jsonb(job.payload),
      idempotency_key: job.idempotencyKey,
      body_hash: job.bodyHash,
      max_attempts: job.maxAttempts,
      priority: job.priority,
      run_at: sql<Date>`greatest(now(), ${job.runAt ?? null}::timestamptz)`,
      workspace_id: job.workspaceId,
      schedule_id: job.scheduleId,
      created_by: job.createdBy,
    })
    .onConflict((conflict) => conflict.column('idempotency_key').doNothing())
    .returning(columns)
    .executeTakeFirst()
    .catch(refuseUnknownWorkspace)
  if (inserted !== undefined) return { job: inserted, inserted: true }
  const known = await trx
    .selectFrom('jobs')
    .select([...columns, 'body_hash'])
    .where('idempotency_key', '=', job.idempotencyKey)
    .executeTakeFirst()
  if (known === undefined)
    throw new AppError('conflict', 'This key has just become free; send the request again.')
  if (!known.body_hash.equals(job.bodyHash)) {
    throw new AppError(
      'idempotency_mismatch',
      'This idempotencyKey belongs to another job; choose a new key for each job.',
    )
  }
  return { job: known, inserted: false }
}

/** Ends a job that waits or runs, at once: whoever runs it finds another fence and can't succeed. Undefined: it had ended. */
export const cancelJob = (trx: Trx, id: string) =>
  trx
    .updateTable('jobs')
    .set({
      status: 'cancelled',
      fence: sql`fence + 1`,
      worker_id: null,
      heartbeat_at: null,
      finished_at: sql<Date>`now()`,
    })
    .where('id', '=', id)
    .where('status', 'in', ['queued', 'running'])
    .returning(columns)
    .executeTakeFirst()

/**
 * Queues a job that failed or was cancelled, with all its attempts again; what its steps have done stays done. Undefined:
 * it had not ended like that.
 */
export const retryJob = (trx: Trx, id: string) =>
  trx
    .updateTable('jobs')
    .set({ status: 'queued', attempts: 0, run_at: sql<Date>`now()`, error: null, finished_at: null })
    .where('id', '=', id)
    .where('status', 'in', ['failed', 'cancelled'])
    .returning(columns)
    .executeTakeFirst()
