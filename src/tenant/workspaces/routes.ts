import { tenantRoute, workspaceRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answerWithTag, IfMatch, IfNoneMatch, mustMatch } from '../../http/entity-tags.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { changeName, mustBeOpen } from '../archiving.ts'
import { type AuditMore, writeAudit } from '../audit-log.ts'
import { tenantKeys } from '../idempotency-keys.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from '../users/asking-user.ts'
import { accessInWorkspaces, readWorkspaces, type WorkspaceAccess } from './access.ts'
import { setRole } from './member-queries.ts'
import {
  deleteWorkspace,
  findWorkspace,
  insertWorkspace,
  listWorkspaces,
  lockWorkspace,
  updateWorkspace,
  type WorkspaceRow,
} from './queries.ts'
import {
  CreateWorkspaceBody,
  PatchWorkspaceBody,
  toWorkspaceView,
  WorkspaceQuery,
  WorkspaceView,
} from './schemas.ts'

const tags = ['Workspaces']
const update = 'tenant-api:workspace:update'
const remove = 'tenant-api:workspace:delete'

const readRoutes = (app: App): void => {
  app.get(
    '/api/workspaces',
    {
      config: workspaceRoute(readWorkspaces),
      schema: {
        tags,
        summary: 'List workspaces',
        querystring: WorkspaceQuery,
        response: answers({ 200: Page(WorkspaceView) }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, readWorkspaces)
      const seen = access.placesOf(readWorkspaces)
      const { data, nextCursor } = await listWorkspaces(scope.db, request.query, seen, request.query)
      return { data: data.map(toWorkspaceView), nextCursor }
    },
  )

  app.get(
    '/api/workspaces/:id',
    {
      config: workspaceRoute(readWorkspaces),
      schema: {
        tags,
        summary: 'Get a workspace',
        params: IdParams,
        headers: IfNoneMatch,
        response: answers({ 200: WorkspaceView, 304: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, readWorkspaces)
      const workspace = present(access, readWorkspaces, await findWorkspace(scope.db, request.params.id))
      return answerWithTag(request, reply, toWorkspaceView(workspace))
    },
  )
}

const writeRoutes = (app: App): void => {
  app.post(
    '/api/workspaces',
    {
      config: tenantRoute('tenant-api:workspace:create'),
      schema: {
        tags,
        summary: 'Create a workspace',
        description: 'Whoever creates it has the role admin in it.',
        headers: IdempotencyHeaders,
        body: CreateWorkspaceBody,
        response: answers({ 201: WorkspaceView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { name, slug } = request.body
      const created = await createOnce(tenantKeys(scope.db), keyedRequest(request, scope.tenantId), {
        create: async (trx) => {
          const creator = await askingUser(trx, scope)
          const workspace = await insertWorkspace(trx, { name, slug, created_by: creator })
          // An operator does not stay.
          if (scope.grant.holder.kind !== 'operator') await setRole(trx, workspace.id, creator, 'admin')
          const body = toWorkspaceView(workspace)
          await writeAudit(trx, scope, 'workspace.created', ...entryOf(workspace, { after: body }))
          return { status: 201 as const, location: `/api/workspaces/${workspace.id}`, body }
        },
      })
      reply.code(201).headers(createdHeaders(created))
      return answerWithTag(request, reply, created.answer.body)
    },
  )

  app.patch(
    '/api/workspaces/:id',
    {
      config: workspaceRoute(update),
      schema: {
        tags,
        summary: 'Change, archive or unarchive a workspace',
        description: 'In an archived workspace nothing can be changed but who has access, only deleted.',
        params: IdParams,
        headers: IfMatch,
        body: PatchWorkspaceBody,
        response: answers({ 200: WorkspaceView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, update)
      const workspace = await scope.db.transaction().execute(async (trx) => {
        const row = present(access, update, await lockWorkspace(trx, request.params.id))
        const before = toWorkspaceView(row)
        mustMatch(request, before)
        mustBeOpen('workspace', row.archived_at, request.body)
        const changed = await updateWorkspace(trx, row.id, request.body)
        const [action, after] = [changeName(row.archived_at, changed.archived_at), toWorkspaceView(changed)]
        await writeAudit(trx, scope, `workspace.${action}`, ...entryOf(row, { before, after }))
        return after
      })
      return answerWithTag(request, reply, workspace)
    },
  )

  app.delete(
    '/api/workspaces/:id',
    {
      config: workspaceRoute(remove),
      schema: {
        tags,
        summary: 'Delete an empty workspace',
        description: 'While there are projects in it the answer is 409 `conflict`.',
        params: IdParams,
        headers: IfMatch,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, remove)
      await scope.db.transaction().execute(async (trx) => {
        const workspace = present(access, remove, await lockWorkspace(trx, request.params.id))
        const before = toWorkspaceView(workspace)
        mustMatch(request, before)
        await deleteWorkspace(trx, workspace.id)
        await writeAudit(trx, scope, 'workspace.deleted', ...entryOf(workspace, { before }))
      })
      return reply.code(204).send(null)
    },
  )
}

/** What an audit entry says of a workspace. */
const entryOf = ({ id }: WorkspaceRow, more: AuditMore) =>
  [
    { type: 'workspace', id },
    { ...more, workspaceId: id },
  ] as const

export const noWorkspace = (): AppError =>
  new AppError('not_found', 'There is no workspace with this id in this tenant.')

/** The workspace, for somebody who may do this in it. Throws `not_found` for who may not see it, or `forbidden`. */
export const present = (
  access: WorkspaceAccess,
  permission: Parameters<WorkspaceAccess['mustMay']>[0],
  workspace: WorkspaceRow | undefined,
): WorkspaceRow => {
  if (workspace === undefined) throw noWorkspace()
  access.mustMay(permission, workspace.id, readWorkspaces, noWorkspace)
  return workspace
}

/** Workspaces of one tenant, in that tenant's database. */
export const workspaceRoutes = (app: App): void => {
  readRoutes(app)
  writeRoutes(app)
}
