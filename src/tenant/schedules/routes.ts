import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantKeys } from '../idempotency-keys.ts'
import { checkJob } from '../jobs/check-job.ts'
import type { JobDeps } from '../jobs/routes.ts'
import { limitTransaction, transactionWithJobs } from '../jobs/wake-ups.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from '../users/asking-user.ts'
import { cronErrors } from './cron.ts'
import { nextTimeOrNull } from './due.ts'
import {
  deleteSchedule,
  findSchedule,
  insertSchedule,
  listSchedules,
  lockSchedule,
  type ScheduleValues,
  updateSchedule,
} from './queries.ts'
import { CreateScheduleBody, PatchScheduleBody, ScheduleView, toScheduleView } from './schemas.ts'

const tags = ['Jobs']

const found = <T>(schedule: T | undefined): T => {
  if (schedule === undefined) {
    throw new AppError('not_found', 'There is no schedule with this id in this tenant.')
  }
  return schedule
}

type Asking = Parameters<typeof checkJob>[1]

/** The schedule with its next time. Throws `validation_failed` for what could never run, `forbidden` for what they may not. */
const planned = (
  { jobTypes }: JobDeps,
  asking: Asking,
  values: Omit<ScheduleValues, 'next_at'>,
): ScheduleValues => {
  checkJob(jobTypes, asking, values.type, values.payload)
  const now = new Date()
  const time = { cron: values.cron, timeZone: values.time_zone }
  const errors = cronErrors(time, now)
  const first = errors[0]
  if (first !== undefined) {
    throw new AppError('validation_failed', `body${first.path} ${first.message}.`, { errors })
  }
  return { ...values, next_at: values.enabled ? nextTimeOrNull(time, now) : null }
}

const readRoutes = (app: App): void => {
  app.get(
    '/api/schedules',
    {
      config: tenantRoute('tenant-api:job:read'),
      schema: {
        tags,
        summary: 'List schedules',
        querystring: PageQuery,
        response: answers({ 200: Page(ScheduleView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { db } = tenantOf(request)
      const page = toPage(await listSchedules(db, { limit: limit + 1, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toScheduleView), nextCursor: page.nextCursor }
    },
  )

  app.get(
    '/api/schedules/:id',
    {
      config: tenantRoute('tenant-api:job:read'),
      schema: { tags, summary: 'Get a schedule', params: IdParams, response: answers({ 200: ScheduleView }) },
    },
    async (request) => toScheduleView(found(await findSchedule(tenantOf(request).db, request.params.id))),
  )
}

const createRoute = (app: App, deps: JobDeps): void => {
  app.post(
    '/api/schedules',
    {
      config: tenantRoute('tenant-api:job:run'),
      schema: {
        tags,
        summary: 'Have a job put in again and again',
        description:
          'Each time puts in one job. Times at which no worker ran have one job together. Where clocks are put forward, a time of day that is left out comes right after; where they are put back, one that comes twice is taken once.',
        headers: IdempotencyHeaders,
        body: CreateScheduleBody,
        response: answers({ 201: ScheduleView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { name, type, payload = {}, cron, timeZone = 'UTC', enabled = true } = request.body
      const values = planned(deps, scope, { name, type, payload, cron, time_zone: timeZone, enabled })
      await deps.wakeUps.promise(scope.tenantId)
      const created = await createOnce(tenantKeys(scope.db), keyedRequest(request, scope.tenantId), {
        create: async (trx) => {
          await limitTransaction(trx)
          const schedule = await insertSchedule(trx, values, await askingUser(trx, scope))
          await writeAudit(trx, scope, 'schedule.created', { type: 'schedule', id: schedule.id })
          const location = `/api/schedules/${schedule.id}`
          return { status: 201 as const, location, body: toScheduleView(schedule) }
        },
      })
      deps.wakeUps.soon(scope.tenantId)
      reply.code(201).headers(createdHeaders(created))
      return created.answer.body
    },
  )
}

const changeRoute = (app: App, deps: JobDeps): void => {
  app.patch(
    '/api/schedules/:id',
    {
      config: tenantRoute('tenant-api:job:run'),
      schema: {
        tags,
        summary: 'Change a schedule',
        description:
          'When its times change, the next one is counted from now. Jobs that it has put in stay as they are.',
        params: IdParams,
        body: PatchScheduleBody,
        response: answers({ 200: ScheduleView }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const { id } = request.params
      const { timeZone, ...change } = request.body
      const schedule = await transactionWithJobs(deps.wakeUps, scope, async (trx) => {
        const { next_at, ...before } = found(await lockSchedule(trx, id))
        const { name, type, payload, cron, time_zone, enabled } = before
        const now = { name, type, payload, cron, time_zone: timeZone ?? time_zone, enabled }
        const after = planned(deps, scope, { ...now, ...change })
        // A time that has come and that nobody has looked at yet is not lost by another name.
        const same = (['cron', 'time_zone', 'enabled'] as const).every((key) => after[key] === before[key])
        const row = await updateSchedule(trx, id, same ? { ...after, next_at } : after)
        await writeAudit(trx, scope, 'schedule.updated', { type: 'schedule', id })
        return row
      })
      return toScheduleView(schedule)
    },
  )
}

const deleteRoute = (app: App): void => {
  app.delete(
    '/api/schedules/:id',
    {
      config: tenantRoute('tenant-api:job:run'),
      schema: {
        tags,
        summary: 'Delete a schedule',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { id } = request.params
      await scope.db.transaction().execute(async (trx) => {
        if (!(await deleteSchedule(trx, id))) found(undefined)
        await writeAudit(trx, scope, 'schedule.deleted', { type: 'schedule', id })
      })
      return reply.code(204).send(null)
    },
  )
}

/** `/api/schedules`: jobs that come again and again. */
export const scheduleRoutes = (app: App, deps: JobDeps): void => {
  readRoutes(app)
  createRoute(app, deps)
  changeRoute(app, deps)
  deleteRoute(app)
}
