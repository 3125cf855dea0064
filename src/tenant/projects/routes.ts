import type { Static } from 'typebox'
import { workspaceRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answerWithTag, IfMatch, IfNoneMatch, mustMatch } from '../../http/entity-tags.ts'
import { tenantPlanOf } from '../../http/guards.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { changeName, mustBeOpen } from '../archiving.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantKeys } from '../idempotency-keys.ts'
import { assertPlanLimit } from '../plan-limits.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from '../users/asking-user.ts'
import { accessInWorkspaces, readWorkspaces, type WorkspaceAccess } from '../workspaces/access.ts'
import {
  deleteProject,
  findProject,
  insertProject,
  listProjects,
  lockProject,
  mustBeOpenWorkspace,
  type ProjectRow,
  unknownWorkspace,
  updateProject,
} from './queries.ts'
import { CreateProjectBody, PatchProjectBody, ProjectQuery, ProjectView, toProjectView } from './schemas.ts'

const tags = ['Projects']
const read = 'tenant-api:project:read'
const create = 'tenant-api:project:create'
const update = 'tenant-api:project:update'
const remove = 'tenant-api:project:delete'

const entityOf = ({ id }: ProjectRow) => ({ type: 'project', id })

const noProject = (): AppError =>
  new AppError('not_found', 'There is no project with this id in this tenant.')

/** The project, for somebody who may do this with it. Throws `not_found` for who may not see it, or `forbidden`. */
const present = (
  access: WorkspaceAccess,
  permission: Parameters<WorkspaceAccess['mustMay']>[0],
  project: ProjectRow | undefined,
): ProjectRow => {
  if (project === undefined) throw noProject()
  access.mustMay(permission, project.workspace_id, read, noProject)
  return project
}

/** Throws for a workspace in which the caller may not create projects; one that they can't see is none. */
const mustMayCreateIn = (access: WorkspaceAccess, workspaceId: string | null): void =>
  access.mustMay(create, workspaceId, readWorkspaces, unknownWorkspace)

const readRoutes = (app: App): void => {
  app.get(
    '/api/projects',
    {
      config: workspaceRoute(read),
      schema: {
        tags,
        summary: 'List projects',
        querystring: ProjectQuery,
        response: answers({ 200: Page(ProjectView) }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, read)
      const seen = access.placesOf(read)
      const { data, nextCursor } = await listProjects(scope.db, request.query, seen, request.query)
      return { data: data.map(toProjectView), nextCursor }
    },
  )

  app.get(
    '/api/projects/:id',
    {
      config: workspaceRoute(read),
      schema: {
        tags,
        summary: 'Get a project',
        params: IdParams,
        headers: IfNoneMatch,
        response: answers({ 200: ProjectView, 304: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, read)
      const project = present(access, read, await findProject(scope.db, request.params.id))
      return answerWithTag(request, reply, toProjectView(project))
    },
  )
}

const createRoute = (app: App): void => {
  app.post(
    '/api/projects',
    {
      config: workspaceRoute(create),
      schema: {
        tags,
        summary: 'Create a project, in a workspace or directly in the tenant',
        headers: IdempotencyHeaders,
        body: CreateProjectBody,
        response: answers({ 201: ProjectView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { name, slug, description = null, workspaceId = null } = request.body
      const access = await accessInWorkspaces(scope, create)
      mustMayCreateIn(access, workspaceId)
      const created = await createOnce(tenantKeys(scope.db), keyedRequest(request, scope.tenantId), {
        create: async (trx) => {
          await assertPlanLimit(trx, tenantPlanOf(request), 'projects')
          await mustBeOpenWorkspace(trx, workspaceId)
          const created_by = await askingUser(trx, scope)
          const values = { name, slug, description, workspace_id: workspaceId, created_by }
          const project = await insertProject(trx, values)
          const body = toProjectView(project)
          await writeAudit(trx, scope, 'project.created', entityOf(project), { after: body, workspaceId })
          return { status: 201 as const, location: `/api/projects/${project.id}`, body }
        },
      })
      reply.code(201).headers(createdHeaders(created))
      return answerWithTag(request, reply, created.answer.body)
    },
  )
}

/** Throws when a project, or where it is to go, does not take this change. Archived ones are only taken out or moved away. */
const mustTakeChange = async (
  trx: Parameters<typeof mustBeOpenWorkspace>[0],
  access: WorkspaceAccess,
  project: ProjectRow,
  change: Static<typeof PatchProjectBody>,
): Promise<void> => {
  const { workspaceId = project.workspace_id } = change
  const moves = workspaceId !== project.workspace_id
  if (moves) mustMayCreateIn(access, workspaceId)
  mustBeOpen('project', project.archived_at, change)
  await mustBeOpenWorkspace(trx, project.workspace_id)
  if (moves) await mustBeOpenWorkspace(trx, workspaceId)
}

const changeRoutes = (app: App): void => {
  app.patch(
    '/api/projects/:id',
    {
      config: workspaceRoute(update),
      schema: {
        tags,
        summary: 'Change, move, archive or unarchive a project',
        description:
          'An archived project, or one in an archived workspace, can only be deleted or taken out again.',
        params: IdParams,
        headers: IfMatch,
        body: PatchProjectBody,
        response: answers({ 200: ProjectView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { workspaceId, ...rest } = request.body
      const change = { ...rest, ...(workspaceId === undefined ? {} : { workspace_id: workspaceId }) }
      const access = await accessInWorkspaces(scope, update)
      const project = await scope.db.transaction().execute(async (trx) => {
        const row = present(access, update, await lockProject(trx, request.params.id))
        const before = toProjectView(row)
        mustMatch(request, before)
        await mustTakeChange(trx, access, row, request.body)
        const changed = await updateProject(trx, row.id, change)
        const [action, after] = [changeName(row.archived_at, changed.archived_at), toProjectView(changed)]
        const more = { before, after, workspaceId: after.workspaceId }
        await writeAudit(trx, scope, `project.${action}`, entityOf(row), more)
        return after
      })
      return answerWithTag(request, reply, project)
    },
  )

  app.delete(
    '/api/projects/:id',
    {
      config: workspaceRoute(remove),
      schema: {
        tags,
        summary: 'Delete a project',
        params: IdParams,
        headers: IfMatch,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, remove)
      await scope.db.transaction().execute(async (trx) => {
        const project = present(access, remove, await lockProject(trx, request.params.id))
        const before = toProjectView(project)
        mustMatch(request, before)
        await deleteProject(trx, project.id)
        const more = { before, workspaceId: before.workspaceId }
        await writeAudit(trx, scope, 'project.deleted', entityOf(project), more)
      })
      return reply.code(204).send(null)
    },
  )
}

/** Projects of one tenant, in that tenant's database. */
export const projectRoutes = (app: App): void => {
  readRoutes(app)
  createRoute(app)
  changeRoutes(app)
}
