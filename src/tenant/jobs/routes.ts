import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { tenantPlanOf } from '../../http/guards.ts'
import { hashBody } from '../../http/idempotency.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { assertPlanLimit } from '../plan-limits.ts'
import { unknownWorkspace } from '../projects/queries.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from '../users/asking-user.ts'
import { accessInWorkspaces, readWorkspaces } from '../workspaces/access.ts'
import { checkJob, mustMayRun } from './check-job.ts'
import type { JobTypes } from './job-type.ts'
import { cancelJob, findJob, insertJob, type JobRow, listJobs, retryJob } from './queries.ts'
import { EnqueueJobBody, JobSummary, JobsQuery, JobView, toJobSummary, toJobView } from './schemas.ts'
import { type JobWakeUps, transactionWithJobs } from './wake-ups.ts'

const tags = ['Jobs']

/** What the routes of jobs need of the node. */
export type JobDeps = Readonly<{ jobTypes: JobTypes; wakeUps: JobWakeUps }>

const defaultMaxAttempts = 5

/** Times that are past, or that no clock shows, mean at once. */
const later = (runAt: string | undefined): Date | undefined => {
  const time = runAt === undefined ? Number.NaN : Date.parse(runAt)
  return time > Date.now() ? new Date(time) : undefined
}

const found = <T>(job: T | undefined): T => {
  if (job === undefined) throw new AppError('not_found', 'There is no job with this id in this tenant.')
  return job
}

/** Throws for a workspace that the caller can't see; what is in none, and who sees all, costs nothing. */
const mustSee = async (scope: ReturnType<typeof tenantOf>, workspaceId: string | null): Promise<void> => {
  if (workspaceId === null) return
  const access = await accessInWorkspaces(scope, readWorkspaces)
  access.mustMay(readWorkspaces, workspaceId, readWorkspaces, unknownWorkspace)
}

const readRoutes = (app: App): void => {
  app.get(
    '/api/jobs',
    {
      config: tenantRoute('tenant-api:job:read'),
      schema: {
        tags,
        summary: 'List jobs',
        description: 'Newest first. Payload and result are on the job itself.',
        querystring: JobsQuery,
        response: answers({ 200: Page(JobSummary) }),
      },
    },
    async (request) => {
      const { limit, cursor, status, type, workspaceId, scheduleId } = request.query
      const filter = { limit: limit + 1, after: readCursor(cursor), status, type, workspaceId, scheduleId }
      const page = toPage(await listJobs(tenantOf(request).db, filter), limit)
      return { data: page.data.map(toJobSummary), nextCursor: page.nextCursor }
    },
  )

  app.get(
    '/api/jobs/:id',
    {
      config: tenantRoute('tenant-api:job:read'),
      schema: { tags, summary: 'Get a job', params: IdParams, response: answers({ 200: JobView }) },
    },
    async (request) => toJobView(found(await findJob(tenantOf(request).db, request.params.id))),
  )
}

const enqueueRoute = (app: App, { jobTypes, wakeUps }: JobDeps): void => {
  const known = [...jobTypes.values()].map(({ name, summary }) => `\`${name}\`: ${summary}`).join(' ')
  app.post(
    '/api/jobs',
    {
      config: tenantRoute('tenant-api:job:run'),
      schema: {
        tags,
        summary: 'Put in a job',
        description: `The first request with an idempotencyKey answers 202; the same again 200 with the same job, as it is by then. Types: ${known}`,
        body: EnqueueJobBody,
        response: answers({ 200: JobView, 202: JobView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { type, payload = {}, idempotencyKey, runAt, ...rest } = request.body
      checkJob(jobTypes, scope, type, payload)
      await mustSee(scope, rest.workspaceId ?? null)
      const { job, inserted } = await transactionWithJobs(wakeUps, scope, async (trx) => {
        const put = await insertJob(trx, {
          type,
          payload,
          idempotencyKey,
          bodyHash: hashBody(request.body),
          maxAttempts: rest.maxAttempts ?? defaultMaxAttempts,
          priority: rest.priority ?? 0,
          runAt: later(runAt),
          workspaceId: rest.workspaceId ?? null,
          scheduleId: null,
          createdBy: await askingUser(trx, scope),
        })
        if (!put.inserted) return put
        await assertPlanLimit(trx, tenantPlanOf(request), 'jobsPerDay', 'added')
        await writeAudit(trx, scope, 'job.enqueued', { type: 'job', id: put.job.id })
        return put
      })
      reply.code(inserted ? 202 : 200).header('location', `/api/jobs/${job.id}`)
      return toJobView(job)
    },
  )
}

const cancelRoute = (app: App): void => {
  app.post(
    '/api/jobs/:id/cancel',
    {
      config: tenantRoute('tenant-api:job:run', { addsNothing: true }),
      schema: {
        tags,
        summary: 'Cancel a job',
        description:
          'Ends it at once, also while it runs: from then on nothing that it still does can be committed. A job of several steps keeps the steps it has done.',
        params: IdParams,
        response: answers({ 200: JobView }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const { id } = request.params
      return scope.db.transaction().execute(async (trx) => {
        const cancelled = await cancelJob(trx, id)
        if (cancelled === undefined) {
          const job = found(await findJob(trx, id))
          if (job.status === 'cancelled') return toJobView(job)
          throw new AppError('conflict', `The job has ${job.status} already; there is nothing to cancel.`)
        }
        await writeAudit(trx, scope, 'job.cancelled', { type: 'job', id })
        return toJobView(cancelled)
      })
    },
  )
}

const retryRoute = (app: App, { jobTypes, wakeUps }: JobDeps): void => {
  app.post(
    '/api/jobs/:id/retry',
    {
      config: tenantRoute('tenant-api:job:run'),
      schema: {
        tags,
        summary: 'Run a job again that failed or was cancelled',
        description:
          'It gets all its attempts again; one that waits or runs is left as it is. A job of several steps goes on where it was.',
        params: IdParams,
        response: answers({ 202: JobView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { id } = request.params
      const job: JobRow = await transactionWithJobs(wakeUps, scope, async (trx) => {
        const queued = await retryJob(trx, id)
        if (queued === undefined) {
          const known = found(await findJob(trx, id))
          if (known.status !== 'succeeded') return known
          throw new AppError('conflict', 'The job has succeeded; put in a new one to do it again.')
        }
        mustMayRun(jobTypes, scope, queued.type)
        await writeAudit(trx, scope, 'job.retried', { type: 'job', id })
        return queued
      })
      reply.code(202)
      return toJobView(job)
    },
  )
}

/** `/api/jobs`: the tenant's background work. */
export const jobRoutes = (app: App, deps: JobDeps): void => {
  readRoutes(app)
  enqueueRoute(app, deps)
  cancelRoute(app)
  retryRoute(app, deps)
}
