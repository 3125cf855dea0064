import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { tenantPlanOf } from '../../http/guards.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantKeys } from '../idempotency-keys.ts'
import { assertPlanLimit } from '../plan-limits.ts'
import { tenantOf } from '../tenant-scope.ts'
import { deleteProject, findProject, insertProject, listProjects, updateProject } from './queries.ts'
import { CreateProjectBody, PatchProjectBody, ProjectView, toProjectView } from './schemas.ts'

const tags = ['Projects']

const found = <T>(project: T | undefined): T => {
  if (project === undefined)
    throw new AppError('not_found', 'There is no project with this id in this tenant.')
  return project
}

const readRoutes = (app: App): void => {
  app.get(
    '/api/projects',
    {
      config: tenantRoute('tenant-api:project:read'),
      schema: {
        tags,
        summary: 'List projects',
        querystring: PageQuery,
        response: answers({ 200: Page(ProjectView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const rows = await listProjects(tenantOf(request).db, { limit: limit + 1, after: readCursor(cursor) })
      const page = toPage(rows, limit)
      return { data: page.data.map(toProjectView), nextCursor: page.nextCursor }
    },
  )

  app.get(
    '/api/projects/:id',
    {
      config: tenantRoute('tenant-api:project:read'),
      schema: { tags, summary: 'Get a project', params: IdParams, response: answers({ 200: ProjectView }) },
    },
    async (request) => toProjectView(found(await findProject(tenantOf(request).db, request.params.id))),
  )
}

const writeRoutes = (app: App): void => {
  app.post(
    '/api/projects',
    {
      config: tenantRoute('tenant-api:project:create'),
      schema: {
        tags,
        summary: 'Create a project',
        headers: IdempotencyHeaders,
        body: CreateProjectBody,
        response: answers({ 201: ProjectView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { name, description = null, workspaceId = null } = request.body
      const created = await createOnce(tenantKeys(scope.db), keyedRequest(request, scope.tenantId), {
        create: async (trx) => {
          await assertPlanLimit(trx, tenantPlanOf(request), 'projects')
          const project = await insertProject(trx, {
            name,
            description,
            workspace_id: workspaceId,
            created_by: scope.personId,
          })
          await writeAudit(trx, scope, 'project.created', { type: 'project', id: project.id })
          return {
            status: 201 as const,
            location: `/api/projects/${project.id}`,
            body: toProjectView(project),
          }
        },
      })
      reply.code(201).headers(createdHeaders(created))
      return created.answer.body
    },
  )

  app.patch(
    '/api/projects/:id',
    {
      config: tenantRoute('tenant-api:project:update'),
      schema: {
        tags,
        summary: 'Change a project',
        params: IdParams,
        body: PatchProjectBody,
        response: answers({ 200: ProjectView }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const { workspaceId, ...rest } = request.body
      const change = { ...rest, ...(workspaceId === undefined ? {} : { workspace_id: workspaceId }) }
      const project = await scope.db.transaction().execute(async (trx) => {
        const row = found(await updateProject(trx, request.params.id, change))
        await writeAudit(trx, scope, 'project.updated', { type: 'project', id: row.id })
        return row
      })
      return toProjectView(project)
    },
  )

  app.delete(
    '/api/projects/:id',
    {
      config: tenantRoute('tenant-api:project:delete'),
      schema: { tags, summary: 'Delete a project', params: IdParams, response: answers({ 204: NoContent }) },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { id } = request.params
      await scope.db.transaction().execute(async (trx) => {
        if (!(await deleteProject(trx, id))) found(undefined)
        await writeAudit(trx, scope, 'project.deleted', { type: 'project', id })
      })
      return reply.code(204).send(null)
    },
  )
}

/** Projects of one tenant, in that tenant's database. */
export const projectRoutes = (app: App): void => {
  readRoutes(app)
  writeRoutes(app)
}
