import { type Static, Type } from 'typebox'
import { PageQuery } from '../../http/paging.ts'
import { Body, Id, Nullable, Time } from '../../http/schemas.ts'
import type { JobRow, JobSummaryRow } from './queries.ts'

const Status = Type.Union([
  Type.Literal('queued'),
  Type.Literal('running'),
  Type.Literal('succeeded'),
  Type.Literal('failed'),
  Type.Literal('cancelled'),
])

export const typeName = Type.String({ minLength: 1, maxLength: 100, pattern: '^[a-z0-9][a-z0-9._-]*$' })
const priority = Type.Integer({ minimum: -100, maximum: 100, description: 'Higher goes first; 0 by default' })

/** Keys that begin like this are the schedules' own. */
export const scheduleKeyPrefix = 'schedule:'

export const EnqueueJobBody = Body({
  type: typeName,
  payload: Type.Optional(Type.Unknown({ description: 'Any JSON that the type takes; {} by default' })),
  idempotencyKey: Type.String({
    minLength: 1,
    maxLength: 255,
    pattern: `^(?!${scheduleKeyPrefix})[!-~]+$`,
    description: 'A text of your own, good for ever: the same key and body are the same job',
  }),
  maxAttempts: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 25, description: 'Tries before it has failed; 5 by default' }),
  ),
  priority: Type.Optional(priority),
  runAt: Type.Optional(
    Type.String({ format: 'date-time', description: 'Not before this time; at once by default' }),
  ),
  workspaceId: Type.Optional(Nullable(Id())),
})

export type EnqueueJob = Static<typeof EnqueueJobBody>

export const JobsQuery = Type.Object({
  ...PageQuery.properties,
  status: Type.Optional(Status),
  type: Type.Optional(typeName),
  workspaceId: Type.Optional(Id()),
  scheduleId: Type.Optional(Id()),
})

const summary = {
  id: Id(),
  type: Type.String(),
  status: Status,
  priority,
  runAt: Time(),
  attempts: Type.Integer({ description: 'Tries so far' }),
  maxAttempts: Type.Integer(),
  idempotencyKey: Type.String(),
  workspaceId: Nullable(Id()),
  scheduleId: Nullable(Id()),
  progress: Nullable(
    Type.Object({
      done: Type.Number(),
      total: Type.Optional(Type.Number()),
      message: Type.Optional(Type.String()),
    }),
  ),
  error: Nullable(Type.String({ description: 'Why the last try failed' })),
  createdBy: Nullable(Id()),
  createdAt: Time(),
  startedAt: Nullable(Time()),
  finishedAt: Nullable(Time()),
}

/** A job in a list: without its payload and result, which may be large. */
export const JobSummary = Type.Object(summary, { title: 'JobSummary' })

export const JobView = Type.Object(
  {
    ...summary,
    payload: Type.Unknown(),
    result: Type.Unknown({ description: 'What it made; null until it has succeeded' }),
  },
  { title: 'Job' },
)

export const toJobSummary = (row: JobSummaryRow): Static<typeof JobSummary> => ({
  id: row.id,
  type: row.type,
  status: row.status,
  priority: row.priority,
  runAt: row.run_at.toISOString(),
  attempts: row.attempts,
  maxAttempts: row.max_attempts,
  idempotencyKey: row.idempotency_key,
  workspaceId: row.workspace_id,
  scheduleId: row.schedule_id,
  progress: row.progress as Static<typeof JobSummary>['progress'],
  error: row.error,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  startedAt: row.started_at?.toISOString() ?? null,
  finishedAt: row.finished_at?.toISOString() ?? null,
})

export const toJobView = (row: JobRow): Static<typeof JobView> => ({
  ...toJobSummary(row),
  payload: row.payload,
  result: row.result,
})
