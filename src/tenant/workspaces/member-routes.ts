import { type Static, Type } from 'typebox'
import { workspaceRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, SortedPageQuery } from '../../http/paging.ts'
import { answers, Body, Id, IdParams, NoContent, Nullable, Time } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantOf } from '../tenant-scope.ts'
import { holdUser } from '../users/queries.ts'
import { accessInWorkspaces, readWorkspaces, type WorkspaceAccess } from './access.ts'
import {
  findWorkspaceMember,
  listWorkspaceMembers,
  memberSorts,
  removeRole,
  setRole,
  type WorkspaceMemberRow,
} from './member-queries.ts'
import { findWorkspace, lockWorkspace } from './queries.ts'
import { type WorkspaceRole, workspaceRoles } from './roles.ts'
import { present } from './routes.ts'

const tags = ['Workspaces']
const update = 'tenant-api:workspace:update'

const Role = Type.Unsafe<WorkspaceRole>({ type: 'string', enum: Object.keys(workspaceRoles) })

const MemberParams = Type.Object({
  id: Id(),
  userId: Type.String({ format: 'uuid', description: 'The id in /api/users, or the userId in /api/members' }),
})

const WorkspaceMemberView = Type.Object(
  {
    userId: Id(),
    email: Nullable(Type.String()),
    firstName: Nullable(Type.String()),
    lastName: Nullable(Type.String()),
    kind: Type.String(),
    status: Type.String(),
    role: Role,
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'WorkspaceMember' },
)

const toView = (row: WorkspaceMemberRow): Static<typeof WorkspaceMemberView> => ({
  userId: row.id,
  email: row.email,
  firstName: row.first_name,
  lastName: row.last_name,
  kind: row.kind,
  status: row.status,
  role: row.role,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})

/** Nobody grants more than they hold: throws `forbidden` for a role that gives more here than the caller has here. */
const mustHold = (access: WorkspaceAccess, role: WorkspaceRole, workspaceId: string): void => {
  const more = workspaceRoles[role].find((permission) => !access.may(permission, workspaceId))
  if (more === undefined) return
  throw new AppError(
    'forbidden',
    `The role ${role} holds ${more}, which you do not hold in this workspace; nobody grants more than they hold.`,
  )
}

const readRoutes = (app: App): void => {
  app.get(
    '/api/workspaces/:id/members',
    {
      config: workspaceRoute(readWorkspaces),
      schema: {
        tags,
        summary: 'The people who have a role in a workspace',
        description: 'Everybody else has there what their role in the tenant gives them.',
        params: IdParams,
        querystring: Type.Object({
          ...SortedPageQuery(memberSorts, '-createdAt').properties,
          role: Type.Optional(Role),
        }),
        response: answers({ 200: Page(WorkspaceMemberView) }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, readWorkspaces)
      const { id } = present(access, readWorkspaces, await findWorkspace(scope.db, request.params.id))
      const { role } = request.query
      const { data, nextCursor } = await listWorkspaceMembers(scope.db, id, role, request.query)
      return { data: data.map(toView), nextCursor }
    },
  )
}

const writeRoutes = (app: App): void => {
  app.put(
    '/api/workspaces/:id/members/:userId',
    {
      config: workspaceRoute(update),
      schema: {
        tags,
        summary: 'Give somebody a role in a workspace',
        description: 'In this workspace it counts instead of their role in the tenant, be it more or less.',
        params: MemberParams,
        body: Body({ role: Role }),
        response: answers({ 200: WorkspaceMemberView }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const { role } = request.body
      const access = await accessInWorkspaces(scope, update)
      const member = await scope.db.transaction().execute(async (trx) => {
        const { id } = present(access, update, await lockWorkspace(trx, request.params.id))
        mustHold(access, role, id)
        const user = await holdUser(trx, request.params.userId)
        if (user === undefined) {
          throw new AppError(
            'not_found',
            'Nobody with this id is in the directory of this tenant; see /api/users.',
          )
        }
        if (user.status === 'removed') {
          throw new AppError('conflict', 'They are no longer a member of this tenant: invite them first.')
        }
        const userId = user.id
        const before = await findWorkspaceMember(trx, id, userId)
        await setRole(trx, id, userId, role)
        await writeAudit(
          trx,
          scope,
          'workspace.member_set',
          { type: 'user', id: userId },
          {
            workspaceId: id,
            before: before && { role: before.role },
            after: { role },
          },
        )
        return findWorkspaceMember(trx, id, userId)
      })
      if (member === undefined) throw new Error('the role that was set is not there')
      return toView(member)
    },
  )

  app.delete(
    '/api/workspaces/:id/members/:userId',
    {
      config: workspaceRoute(update),
      schema: {
        tags,
        summary: "Take somebody's role in a workspace",
        description: 'From then on their role in the tenant counts there.',
        params: MemberParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const access = await accessInWorkspaces(scope, update)
      await scope.db.transaction().execute(async (trx) => {
        const { id } = present(access, update, await lockWorkspace(trx, request.params.id))
        const userId = (await holdUser(trx, request.params.userId))?.id
        const role = userId && (await removeRole(trx, id, userId))
        if (!userId || !role) {
          throw new AppError('not_found', 'Nobody with this id has a role in this workspace.')
        }
        await writeAudit(
          trx,
          scope,
          'workspace.member_removed',
          { type: 'user', id: userId },
          {
            workspaceId: id,
            before: { role },
          },
        )
      })
      return reply.code(204).send(null)
    },
  )
}

/** Who has which role in a workspace. */
export const workspaceMemberRoutes = (app: App): void => {
  readRoutes(app)
  writeRoutes(app)
}
