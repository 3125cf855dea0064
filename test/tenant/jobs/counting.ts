import { sql } from 'kysely'
import { Type } from 'typebox'
import { newId } from '../../../src/kernel/ids.ts'
import type { PostgresAddress } from '../../../src/kernel/postgres-address.ts'
import type { Service } from '../../../src/service.ts'
import { defineJobType, JobError, type JobTypes } from '../../../src/tenant/jobs/job-type.ts'
import { createJobRunner, type JobRunner, type Patience } from '../../../src/tenant/jobs/looks.ts'
import { insertJob } from '../../../src/tenant/jobs/queries.ts'
import { jobTypes, jobTypesOf } from '../../../src/tenant/jobs/registry.ts'
import { transactionWithJobs } from '../../../src/tenant/jobs/wake-ups.ts'

/** An effect that shows when it happened twice: nothing in the table forbids it. */
export const effectsTable =
  'create table effects (job_id uuid not null, at timestamptz not null default clock_timestamp()); grant select, insert on effects to freehold_tenant'

const count = defineJobType({
  name: 'count',
  summary: 'Writes a row, and waits if it is told to.',
  payload: Type.Object({ seconds: Type.Optional(Type.Number()) }),
  run: async (trx, { seconds }, { jobId }) => {
    await sql`insert into effects (job_id) values (${jobId}::uuid)`.execute(trx)
    if (seconds !== undefined) await sql`select pg_sleep(${seconds})`.execute(trx)
    return null
  },
})

const fail = defineJobType({
  name: 'fail',
  summary: 'Writes a row and fails.',
  payload: Type.Object({ final: Type.Optional(Type.Boolean()), words: Type.Optional(Type.String()) }),
  run: async (trx, { final = false, words }, { jobId }) => {
    await sql`insert into effects (job_id) values (${jobId}::uuid)`.execute(trx)
    throw words === undefined ? new JobError('It was told to fail.', { final }) : new Error(words)
  },
})

export const countingTypes = jobTypesOf([...jobTypes.values(), count, fail])

/** A runner that knows these types too. */
export const countingRunner = (
  service: Service,
  { types = countingTypes, patience }: { types?: JobTypes; patience?: Partial<Patience> | undefined } = {},
): JobRunner =>
  createJobRunner({
    workerId: service.nodeId,
    use: (tenantId, work, options) => service.router.use(tenantId, work, options),
    planOf: async () => undefined,
    jobTypes: types,
    wakeUps: service.wakeUps,
    log: service.log,
    ...(patience === undefined ? {} : { patience }),
  })

/** Puts jobs in as a route does, all in one transaction. Answers their ids. */
export const putJobs = (
  service: Service,
  tenantId: string,
  jobs: readonly { type: string; payload?: unknown; maxAttempts?: number }[],
): Promise<string[]> =>
  service.router.use(tenantId, (db) =>
    transactionWithJobs(service.wakeUps, { tenantId, db }, async (trx) => {
      const ids: string[] = []
      for (const { type, payload = {}, maxAttempts = 5 } of jobs) {
        const { job } = await insertJob(trx, {
          ...{ type, payload, maxAttempts, idempotencyKey: newId(), bodyHash: Buffer.alloc(32), priority: 0 },
          ...{ runAt: undefined, workspaceId: null, scheduleId: null, createdBy: null },
        })
        ids.push(job.id)
      }
      return ids
    }),
  )

/** What a worker process is told at its start. */
export type WorkerOrder = Readonly<{
  master: PostgresAddress
  provisioner: PostgresAddress
  /** Less of it than usual, so that a test need not wait. */
  patience?: Partial<Patience>
}>
