import { Type } from 'typebox'
import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answers } from '../../http/schemas.ts'
import { tenantOf } from '../tenant-scope.ts'
import { readSummary } from './queries.ts'

const count = Type.Integer()

const Summary = Type.Object(
  {
    users: Type.Object({ members: count, added: count }),
    workspaces: Type.Object({ active: count, archived: count }),
    projects: Type.Object({ active: count, archived: count }),
    jobs: Type.Object({ queued: count, running: count, succeeded: count, failed: count, cancelled: count }),
    activity: Type.Array(Type.Object({ date: Type.String({ format: 'date' }), changes: count }), {
      description: 'Entries of the audit log by day (UTC), the last 30, today last',
    }),
    activityComplete: Type.Boolean({
      description: 'False when there are more entries than are looked at: the first days then show too few',
    }),
  },
  { title: 'AnalyticsSummary' },
)

/** What there is in a tenant, and how busy it was. */
export const analyticsRoutes = (app: App): void => {
  app.get(
    '/api/analytics/summary',
    {
      config: tenantRoute('tenant-api:analytics:read'),
      schema: {
        tags: ['Analytics'],
        summary: 'What there is in the tenant, and how busy it was in the last 30 days',
        response: answers({ 200: Summary }),
      },
    },
    async (request) => {
      const { counts, jobs, activity, complete } = await readSummary(tenantOf(request).db)
      const inStatus = (status: Parameters<typeof jobs.get>[0]): number => jobs.get(status) ?? 0
      return {
        users: { members: counts.members, added: counts.added },
        workspaces: { active: counts.workspaces, archived: counts.archived_workspaces },
        projects: { active: counts.projects, archived: counts.archived_projects },
        jobs: {
          queued: inStatus('queued'),
          running: inStatus('running'),
          succeeded: inStatus('succeeded'),
          failed: inStatus('failed'),
          cancelled: inStatus('cancelled'),
        },
        activity: activity.map(({ date, changes }) => ({ date, changes })),
        activityComplete: complete,
      }
    },
  )
}
