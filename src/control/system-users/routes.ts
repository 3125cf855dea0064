import { Type } from 'typebox'
import { endSessionsOf } from '../../access/end-session.ts'
import { createSystemUser, revokeOldSystemSecrets, rotateSystemSecret } from '../../access/system-users.ts'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, Id, IdParams, Line, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import {
  findRole,
  findSystemUser,
  listSystemUsers,
  putMembership,
  tenantsConcerned,
} from '../../master/system-users.ts'
import { findTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { changeSystemUser } from './queries.ts'
import {
  CreateBody,
  NewSecretView,
  PatchBody,
  RevokedView,
  RoleBody,
  RotateBody,
  SystemUserView,
  toSystemUserView,
} from './schemas.ts'

const tags = ['Platform']
const base = '/platform/system-users'
const config = platformRoute()

const nothing = (): AppError => new AppError('not_found', 'There is no system user with this id.')

type Request = Parameters<typeof identityOf>[0]

const audit = (
  trx: MasterTransaction,
  request: Request,
  action: string,
  { id, tenantId }: { id: string; tenantId: string | null },
): Promise<void> =>
  writeMasterAudit(trx, {
    actor: { kind: 'platform_admin', id: identityOf(request).personId },
    action: `system_user.${action}`,
    entity: { type: 'system_user', id },
    tenantId,
    caller: callerOf(request),
  })

/**
 * Runs the change and writes an entry for each tenant it concerns (`tenantId`; by default all in which the system user works),
 * in one transaction; a change that answers undefined met no system user.
 */
const changeAudited = async <T>(
  deps: ControlDeps,
  request: Request,
  { action, id, tenantId }: { action: string; id: string; tenantId?: string },
  change: (trx: MasterTransaction) => Promise<T | undefined>,
): Promise<T> => {
  const result = await deps.db.transaction().execute(async (trx) => {
    const concerned = tenantId === undefined ? await tenantsConcerned(trx, id) : [tenantId]
    const changed = await change(trx)
    if (changed === undefined) throw nothing()
    for (const concernedId of concerned) await audit(trx, request, action, { id, tenantId: concernedId })
    return changed
  })
  deps.grants.forget(`person:${id}`)
  return result
}

const view = async (deps: ControlDeps, id: string) => {
  const found = await findSystemUser(deps.db, id)
  if (found === undefined) throw nothing()
  return toSystemUserView(found)
}

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'All system users',
        querystring: PageQuery,
        response: answers({ 200: Page(SystemUserView) }),
      },
    },
    async ({ query: { limit, cursor } }) => {
      const page = toPage(await listSystemUsers(deps.db, { limit, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toSystemUserView), nextCursor: page.nextCursor }
    },
  )
  app.get(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'One system user',
        params: IdParams,
        response: answers({ 200: SystemUserView }),
      },
    },
    async ({ params }) => view(deps, params.id),
  )
}

const createRoute = (app: App, deps: ControlDeps): void => {
  app.post(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'Create a system user',
        description: 'Its secret is shown in this answer and never again.',
        body: CreateBody,
        response: answers({ 201: NewSecretView }),
      },
    },
    async (request, reply) => {
      const { name, email, serviceType, metadata } = request.body
      const made = await deps.db.transaction().execute(async (trx) => {
        const added = await createSystemUser(trx, { name, email, serviceType, metadata, tenantId: null })
        await audit(trx, request, 'created', { id: added.id, tenantId: null })
        return added
      })
      reply.code(201)
      return { ...(await view(deps, made.id)), clientSecret: made.clientSecret }
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  app.patch(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Change, disable or enable a system user',
        params: IdParams,
        body: PatchBody,
        response: answers({ 200: SystemUserView }),
      },
    },
    async (request) => {
      const { id } = request.params
      await changeAudited(deps, request, { action: 'updated', id }, async (trx) => {
        if (!(await changeSystemUser(trx, id, request.body))) return undefined
        if (request.body.disabled === true) await endSessionsOf(trx, id, 'disabled')
        return true
      })
      return view(deps, id)
    },
  )
  app.delete(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Delete a system user',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      await changeAudited(deps, request, { action: 'deleted', id }, async (trx) => {
        const { numDeletedRows } = await trx
          .deleteFrom('people')
          .where('id', '=', id)
          .where('kind', '=', 'system')
          .executeTakeFirst()
        return numDeletedRows > 0n ? true : undefined
      })
      return reply.code(204).send(null)
    },
  )
}

const secretRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    `${base}/:id/rotate`,
    {
      config,
      schema: {
        tags,
        summary: 'Give a system user a new secret',
        description: 'Until the grace is over the old one works too.',
        params: IdParams,
        body: RotateBody,
        response: answers({ 200: NewSecretView }),
      },
    },
    async (request) => {
      const { id } = request.params
      const clientSecret = await changeAudited(deps, request, { action: 'secret_rotated', id }, (trx) =>
        rotateSystemSecret(trx, id, request.body.graceDays),
      )
      return { ...(await view(deps, id)), clientSecret }
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
      const { id } = request.params
      const revoked = await changeAudited(
        deps,
        request,
        { action: 'old_secrets_revoked', id },
        async (trx) =>
          (await findSystemUser(trx, id)) === undefined ? undefined : revokeOldSystemSecrets(trx, id),
      )
      return { revoked }
    },
  )
}

const TenantParams = Type.Object({ id: Id(), tenant: Line({ maxLength: 63, description: 'Id or slug' }) })

const tenantOf = async (deps: ControlDeps, idOrSlug: string): Promise<string> => {
  const tenant = await findTenant(deps.db, idOrSlug)
  if (tenant === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
  return tenant.id
}

const membershipRoutes = (app: App, deps: ControlDeps): void => {
  const path = `${base}/:id/tenants/:tenant`
  app.put(
    path,
    {
      config,
      schema: {
        tags,
        summary: 'Let a system user into a tenant, with a role',
        params: TenantParams,
        body: RoleBody,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const tenantId = await tenantOf(deps, request.params.tenant)
      await changeAudited(deps, request, { action: 'role_set', id, tenantId }, async (trx) => {
        const found = await findSystemUser(trx, id)
        if (found === undefined) return undefined
        if ((found.tenant_id ?? tenantId) !== tenantId) {
          throw new AppError('conflict', 'A tenant keeps this system user; it works there and nowhere else.')
        }
        const role = await findRole(trx, tenantId, request.body.role)
        if (role === undefined) throw new AppError('not_found', 'The tenant has no such role.')
        await putMembership(trx, { id, tenantId, roleId: role.id })
        return true
      })
      return reply.code(204).send(null)
    },
  )
  app.delete(
    path,
    {
      config,
      schema: {
        tags,
        summary: 'Take a system user out of a tenant',
        params: TenantParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const tenantId = await tenantOf(deps, request.params.tenant)
      await changeAudited(deps, request, { action: 'role_taken', id, tenantId }, async (trx) => {
        if ((await findSystemUser(trx, id)) === undefined) return undefined
        await trx
          .deleteFrom('memberships')
          .where('tenant_id', '=', tenantId)
          .where('person_id', '=', id)
          .execute()
        return true
      })
      return reply.code(204).send(null)
    },
  )
}

/** Service accounts, as platform admins keep them. */
export const systemUserRoutes = (app: App, deps: ControlDeps): void => {
  readRoutes(app, deps)
  createRoute(app, deps)
  changeRoutes(app, deps)
  secretRoutes(app, deps)
  membershipRoutes(app, deps)
}
