import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { accountRoute, memberRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf, memberScopeOf } from '../../http/guards.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { callerOf } from '../../http/identity.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, Id, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import { findMyTenant, listMyTenants, type MemberTenant } from '../../master/memberships.ts'
import { findTenantFace } from '../../master/tenants.ts'
import { createOnPlan } from '../../tenant-manager/create-on-plan.ts'
import type { ControlDeps } from '../control-deps.ts'
import { masterKeys } from '../idempotency-keys.ts'
import { limitSubject, tenantsOfOne } from '../limits.ts'
import { leaveTenant } from '../members/flows.ts'
import { mustStillHold } from '../members/holding.ts'
import { changeTenant } from './change.ts'
import { deleteTenant } from './lifecycle.ts'
import { ChangeTenantBody, CreateTenantBody, DeletedView, TenantParams } from './schemas.ts'
import { newTenantSettings, TenantStatus, TenantView, toTenantView } from './tenant-view.ts'

const tags = ['Tenants']

/** Only active tenants' databases can be asked. */
const withSettings = async (deps: ControlDeps, tenant: MemberTenant) =>
  toTenantView(tenant, tenant.status === 'active' ? await deps.readSettings(tenant.id) : undefined)

const notMine = (): AppError => new AppError('not_found', 'You have no tenant with this id or slug.')

const findMine = async (deps: ControlDeps, personId: string, idOrSlug: string): Promise<MemberTenant> => {
  const tenant = await findMyTenant(deps.db, personId, idOrSlug)
  if (tenant === undefined) throw notMine()
  if (tenant.status === 'deleted') throw new AppError('gone', 'This tenant was deleted.')
  return tenant
}

const createRoute = (app: App, deps: ControlDeps): void => {
  const keys = masterKeys(deps)
  app.post(
    '/tenants',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Create a tenant with a database of its own',
        description:
          '201 when the database is ready; 202 when it must still be built: follow Location until active.',
        headers: IdempotencyHeaders,
        body: CreateTenantBody,
        response: answers({ 201: TenantView, 202: TenantView }),
      },
    },
    async (request, reply) => {
      const { personId } = identityOf(request)
      await limitSubject(deps.limits, tenantsOfOne, personId)
      const { name, slug, plan, region, tier = 'shared' } = request.body
      const chooser = { chosenBy: 'self', paidUntil: deps.billing?.paidUntil } as const
      const created = await createOnce(keys, keyedRequest(request, null), {
        create: async (db) => {
          const tenant = await createOnPlan(deps.manager, db, chooser, {
            ...{ name, slug, plan, region, tier },
            firstAdmin: personId,
            by: { actor: { kind: 'person', id: personId }, caller: callerOf(request) },
          })
          const ready = tenant.status === 'active'
          return {
            status: ready ? (201 as const) : (202 as const),
            location: ready ? `/tenants/${tenant.id}` : `/tenants/${tenant.id}/status`,
            body: toTenantView(tenant, ready ? newTenantSettings : undefined),
          }
        },
      })
      reply.code(created.answer.status).headers(createdHeaders(created))
      return created.answer.body
    },
  )
}

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/tenants',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'My tenants',
        querystring: PageQuery,
        response: answers({ 200: Page(TenantView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const rows = await listMyTenants(deps.db, identityOf(request).personId, {
        limit: limit + 1,
        after: readCursor(cursor),
      })
      const page = toPage(rows, limit)
      const data = await Promise.all(page.data.map((tenant) => withSettings(deps, tenant)))
      return { data, nextCursor: page.nextCursor }
    },
  )

  app.get(
    '/tenants/:tenant',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'One of my tenants',
        params: TenantParams,
        response: answers({ 200: TenantView }),
      },
    },
    async (request) =>
      withSettings(deps, await findMine(deps, identityOf(request).personId, request.params.tenant)),
  )

  app.get(
    '/tenants/:tenant/status',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Is the tenant ready?',
        params: TenantParams,
        response: answers({ 200: Type.Object({ id: Id(), status: TenantStatus }) }),
      },
    },
    async (request) => {
      const { id, status } = await findMine(deps, identityOf(request).personId, request.params.tenant)
      return { id, status }
    },
  )
}

/** Who acts in a tenant by account: what they hold there is asked under the tenant's lock. */
const actingIn = (request: FastifyRequest, tenantId: string) => {
  const { personId } = identityOf(request)
  const actor = { kind: 'person', id: personId } as const
  return { tenantId, personId, actor, caller: callerOf(request) }
}

const leaveRoute = (app: App, deps: ControlDeps): void => {
  app.post(
    '/tenants/:tenant/leave',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Leave a tenant',
        description: 'Its last Admin makes somebody else an Admin first.',
        params: TenantParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = await findMine(deps, identityOf(request).personId, request.params.tenant)
      await leaveTenant(deps, actingIn(request, id))
      return reply.code(204).send(null)
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  app.patch(
    '/tenants/:tenant',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Change one of my tenants',
        description: 'Needs tenant-api:tenant:update there. What is given takes the place of what was there.',
        params: TenantParams,
        body: ChangeTenantBody,
        response: answers({ 200: TenantView }),
      },
    },
    async (request, reply) => {
      const { personId } = identityOf(request)
      const { id } = await findMine(deps, personId, request.params.tenant)
      const grant = await deps.grants.grant(id, personId)
      if (grant !== undefined) deps.countRequest(grant, reply)
      await changeTenant(deps, actingIn(request, id), request.body)
      return withSettings(deps, await findMine(deps, personId, id))
    },
  )

  app.delete(
    '/tenants/:tenant',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Delete one of my tenants',
        description:
          'Needs tenant-api:tenant:delete there. Nobody gets in any more; after purgeAfter it is erased. Until then a platform admin can restore it.',
        params: TenantParams,
        response: answers({ 202: DeletedView }),
      },
    },
    async (request, reply) => {
      const { personId } = identityOf(request)
      const tenant = await findMyTenant(deps.db, personId, request.params.tenant)
      if (tenant === undefined) throw notMine()
      const who = actingIn(request, tenant.id)
      const deleted = await deleteTenant(
        deps,
        tenant.id,
        who,
        deps.tenantGraceDays,
        async (trx, { status }) => {
          if (status === 'suspended') throw refusalOfStatus(status)
          await mustStillHold(trx, who, 'tenant-api:tenant:delete')
        },
      )
      reply.code(202)
      return deleted
    },
  )
}

const ownTenantRoutes = (app: App, deps: ControlDeps): void => {
  const view = async (request: FastifyRequest) => {
    const { tenantId } = memberScopeOf(request)
    const tenant = await findTenantFace(deps.db, tenantId)
    if (tenant === undefined) throw notMine()
    return toTenantView(tenant, await deps.readSettings(tenantId))
  }
  app.get(
    '/api/tenant',
    {
      config: memberRoute('tenant-api:tenant:read'),
      schema: { tags, summary: 'This tenant', response: answers({ 200: TenantView }) },
    },
    view,
  )

  app.patch(
    '/api/tenant',
    {
      config: memberRoute('tenant-api:tenant:update'),
      schema: {
        tags,
        summary: 'Change this tenant',
        description: 'What is given takes the place of what was there.',
        body: ChangeTenantBody,
        response: answers({ 200: TenantView }),
      },
    },
    async (request) => {
      await changeTenant(deps, memberScopeOf(request), request.body)
      return view(request)
    },
  )
}

/** The tenants of the signed-in person. */
export const tenantRoutes = (app: App, deps: ControlDeps): void => {
  createRoute(app, deps)
  readRoutes(app, deps)
  leaveRoute(app, deps)
  changeRoutes(app, deps)
  ownTenantRoutes(app, deps)
}
