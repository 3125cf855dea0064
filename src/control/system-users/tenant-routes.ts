import { endSessionsOf } from '../../access/end-session.ts'
import { mustHoldRole } from '../../access/granting.ts'
import { createSystemUser, revokeOldSystemSecrets, rotateSystemSecret } from '../../access/system-users.ts'
import { memberRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { type MemberScope, memberScopeOf } from '../../http/guards.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import {
  findRole,
  findSystemUser,
  listSystemUsers,
  putMembership,
  type SystemUser,
} from '../../master/system-users.ts'
import type { ControlDeps } from '../control-deps.ts'
import { changeSystemUser } from './queries.ts'
import {
  NewSecretView,
  RevokedView,
  RotateBody,
  SystemUserView,
  TenantCreateBody,
  TenantPatchBody,
  toSystemUserView,
} from './schemas.ts'

const tags = ['System users']
const base = '/api/system-users'

/** One that this tenant keeps. What the platform or another tenant keeps is not there for it. */
const find = async (db: MasterDb, { tenantId }: MemberScope, id: string): Promise<SystemUser> => {
  const found = await findSystemUser(db, id, tenantId)
  if (found === undefined) throw new AppError('not_found', 'There is no system user with this id.')
  return found
}

/** The id of a role that the caller may give, by the role's id or name. The first thing in a transaction. */
const roleToGive = async (trx: MasterTransaction, scope: MemberScope, idOrName: string): Promise<string> => {
  const role = await findRole(trx, scope.tenantId, idOrName)
  if (role === undefined) throw new AppError('not_found', 'The tenant has no such role.')
  return (await mustHoldRole(trx, scope, role.id)).id
}

/** Whoever gets its secret may do what it may: that is as good as being given its role. */
const mustHoldRoleOf = async (trx: MasterTransaction, scope: MemberScope, id: string): Promise<void> => {
  const { role_id } = await find(trx, scope, id)
  if (role_id === null) return
  await mustHoldRole(trx, scope, role_id)
  const now = await trx
    .selectFrom('memberships')
    .select('role_id')
    .where('tenant_id', '=', scope.tenantId)
    .where('person_id', '=', id)
    .forShare()
    .executeTakeFirst()
  if (now?.role_id !== role_id) throw new AppError('conflict', 'Its role was changed meanwhile; try again.')
}

const audit = (
  trx: MasterTransaction,
  { actor, tenantId, caller }: MemberScope,
  action: string,
  id: string,
): Promise<void> =>
  writeMasterAudit(trx, {
    actor,
    action: `system_user.${action}`,
    entity: { type: 'system_user', id },
    tenantId,
    caller,
  })

/** Makes the change of one that the tenant keeps, with its entry, in one transaction. */
const change = async <T>(
  deps: ControlDeps,
  scope: MemberScope,
  { id, action }: { id: string; action: string },
  work: (trx: MasterTransaction) => Promise<T>,
): Promise<T> => {
  const result = await deps.db.transaction().execute(async (trx) => {
    const changed = await work(trx)
    await audit(trx, scope, action, id)
    return changed
  })
  deps.grants.forget(`person:${id}`)
  deps.grants.forget(`membership:${scope.tenantId}:${id}`)
  return result
}

const readRoutes = (app: App, deps: ControlDeps): void => {
  const config = memberRoute('tenant-api:system-user:read')
  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: "The tenant's system users",
        querystring: PageQuery,
        response: answers({ 200: Page(SystemUserView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { tenantId } = memberScopeOf(request)
      const rows = await listSystemUsers(deps.db, { limit, after: readCursor(cursor) }, tenantId)
      const page = toPage(rows, limit)
      return { data: page.data.map(toSystemUserView), nextCursor: page.nextCursor }
    },
  )
  app.get(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: "One of the tenant's system users",
        params: IdParams,
        response: answers({ 200: SystemUserView }),
      },
    },
    async (request) => toSystemUserView(await find(deps.db, memberScopeOf(request), request.params.id)),
  )
}

const createRoute = (app: App, deps: ControlDeps): void => {
  app.post(
    base,
    {
      config: memberRoute('tenant-api:system-user:create', { adds: true }),
      schema: {
        tags,
        summary: 'Create a system user of the tenant',
        description:
          'Its secret is shown in this answer and never again. The role may hold no more than you do.',
        body: TenantCreateBody,
        response: answers({ 201: NewSecretView }),
      },
    },
    async (request, reply) => {
      const scope = memberScopeOf(request)
      const { tenantId } = scope
      const { name, role, serviceType, metadata } = request.body
      const made = await deps.db.transaction().execute(async (trx) => {
        const roleId = await roleToGive(trx, scope, role)
        const added = await createSystemUser(trx, { name, email: undefined, serviceType, metadata, tenantId })
        await putMembership(trx, { id: added.id, tenantId, roleId })
        await audit(trx, scope, 'created', added.id)
        return added
      })
      reply.code(201)
      const view = toSystemUserView(await find(deps.db, scope, made.id))
      return { ...view, clientSecret: made.clientSecret }
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  app.patch(
    `${base}/:id`,
    {
      config: memberRoute('tenant-api:system-user:update'),
      schema: {
        tags,
        summary: 'Change, disable or enable a system user of the tenant',
        params: IdParams,
        body: TenantPatchBody,
        response: answers({ 200: SystemUserView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      const { id } = request.params
      const { role, ...fields } = request.body
      await change(deps, scope, { id, action: 'updated' }, async (trx) => {
        const roleId = role === undefined ? undefined : await roleToGive(trx, scope, role)
        await find(trx, scope, id)
        // Who may not act as it may take nothing from it but its being: its secrets would go on with the next role.
        if (role !== undefined || fields.disabled === false) await mustHoldRoleOf(trx, scope, id)
        await changeSystemUser(trx, id, fields)
        if (roleId !== undefined) await putMembership(trx, { id, tenantId: scope.tenantId, roleId })
        if (fields.disabled === true) await endSessionsOf(trx, id, 'disabled')
      })
      return toSystemUserView(await find(deps.db, scope, id))
    },
  )
  app.delete(
    `${base}/:id`,
    {
      config: memberRoute('tenant-api:system-user:delete'),
      schema: {
        tags,
        summary: 'Delete a system user of the tenant',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = memberScopeOf(request)
      const { id } = request.params
      await change(deps, scope, { id, action: 'deleted' }, async (trx) => {
        await find(trx, scope, id)
        await trx.deleteFrom('people').where('id', '=', id).execute()
      })
      return reply.code(204).send(null)
    },
  )
}

const secretRoutes = (app: App, deps: ControlDeps): void => {
  const config = memberRoute('tenant-api:system-user:update')
  app.post(
    `${base}/:id/rotate`,
    {
      config,
      schema: {
        tags,
        summary: 'Give a system user of the tenant a new secret',
        description: 'Until the grace is over the old one works too. Its role may hold no more than you do.',
        params: IdParams,
        body: RotateBody,
        response: answers({ 200: NewSecretView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      const { id } = request.params
      const clientSecret = await change(deps, scope, { id, action: 'secret_rotated' }, async (trx) => {
        await mustHoldRoleOf(trx, scope, id)
        const secret = await rotateSystemSecret(trx, id, request.body.graceDays)
        if (secret === undefined) throw new AppError('not_found', 'There is no system user with this id.')
        return secret
      })
      return { ...toSystemUserView(await find(deps.db, scope, id)), clientSecret }
    },
  )
  app.post(
    `${base}/:id/revoke-old`,
    {
      config,
      schema: {
        tags,
        summary: 'End the grace of old secrets now',
        params: IdParams,
        response: answers({ 200: RevokedView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      const { id } = request.params
      const revoked = await change(deps, scope, { id, action: 'old_secrets_revoked' }, async (trx) => {
        await find(trx, scope, id)
        return revokeOldSystemSecrets(trx, id)
      })
      return { revoked }
    },
  )
}

/** Service accounts that a tenant keeps for itself: members of it, and of nothing else. */
export const tenantSystemUserRoutes = (app: App, deps: ControlDeps): void => {
  readRoutes(app, deps)
  createRoute(app, deps)
  changeRoutes(app, deps)
  secretRoutes(app, deps)
}
