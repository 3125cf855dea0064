import { Type } from 'typebox'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, Line } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { checkSlug } from '../../kernel/slug.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { normalizeEmail } from '../../master/people.ts'
import { findSubscription } from '../../master/subscriptions.ts'
import { findTenant, type ListedTenant, listErasures, lockTenant } from '../../master/tenants.ts'
import { createOnPlan } from '../../tenant-manager/create-on-plan.ts'
import type { ControlDeps } from '../control-deps.ts'
import { masterKeys } from '../idempotency-keys.ts'
import { createInvitation } from '../invitations/flows.ts'
import { invitationsToOne, limitSubject } from '../limits.ts'
import { findRoleId } from '../members/queries.ts'
import { toTermsView } from '../plans/schemas.ts'
import { readUsage } from '../plans/usage.ts'
import { changeFace } from '../tenants/change.ts'
import { deleteTenant, restoreTenant, resumeTenant, suspendTenant } from '../tenants/lifecycle.ts'
import { DeletedView, ManagedTenantBody, PlatformChangeBody } from '../tenants/schemas.ts'
import { byOf } from './by.ts'
import {
  ErasureView,
  PlatformTenantDetail,
  PlatformTenantView,
  toErasureView,
  toPlatformTenantView,
} from './schemas.ts'

const tags = ['Platform']
const base = '/platform/tenants'
const config = platformRoute()
const params = Type.Object({ id: Line({ maxLength: 63, description: 'Id or slug' }) })

const find = async (deps: Pick<ControlDeps, 'db'>, idOrSlug: string): Promise<ListedTenant> => {
  const tenant = await findTenant(deps.db, idOrSlug)
  if (tenant === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
  return tenant
}

const createRoute = (app: App, deps: ControlDeps): void => {
  const keys = masterKeys(deps)
  app.post(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'Create a tenant for somebody else',
        description: 'Its first Admin is invited by mail, and nobody is a member until they accept.',
        headers: IdempotencyHeaders,
        body: ManagedTenantBody,
        response: answers({ 201: PlatformTenantView, 202: PlatformTenantView }),
      },
    },
    async (request, reply) => {
      const { name, slug, plan, region, tier = 'shared' } = request.body
      const by = byOf(request)
      const email = normalizeEmail(request.body.adminEmail)
      const create = async (trx: MasterTransaction) => {
        const wanted = { name, slug, plan, region, tier, firstAdmin: undefined, by }
        const tenant = await createOnPlan(deps.manager, trx, { chosenBy: 'platform' }, wanted)
        const roleId = await findRoleId(trx, tenant.id, 'Admin')
        const giver = { personId: by.actor.id, byPlatform: true }
        await createInvitation(trx, deps, { tenant, email, roleId, giver }, by)
        return {
          status: tenant.status === 'active' ? (201 as const) : (202 as const),
          location: `${base}/${tenant.id}`,
          body: toPlatformTenantView(await find({ db: trx }, tenant.id)),
        }
      }
      const created = await createOnce(keys, keyedRequest(request, null), {
        before: () => limitSubject(deps.limits, invitationsToOne, email),
        create: (db) =>
          db.isTransaction ? create(db as MasterTransaction) : db.transaction().execute(create),
      })
      reply.code(created.answer.status).headers(createdHeaders(created))
      return created.answer.body
    },
  )
}

const oneRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'One tenant, and what it uses of its plan',
        params,
        response: answers({ 200: PlatformTenantDetail }),
      },
    },
    async (request) => {
      const tenant = await find(deps, request.params.id)
      const { usage, storageMeasuredAt } = await readUsage(deps, tenant.id)
      const subscription = toTermsView(await findSubscription(deps.db, tenant.id))
      return { ...toPlatformTenantView(tenant), subscription, usage, storageMeasuredAt }
    },
  )

  app.patch(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: "Change a tenant's name, slug or logo",
        params,
        body: PlatformChangeBody,
        response: answers({ 200: PlatformTenantView }),
      },
    },
    async (request) => {
      const { id } = await find(deps, request.params.id)
      const { slug } = request.body
      if (slug !== undefined) checkSlug(slug)
      await deps.db.transaction().execute(async (trx) => {
        await lockTenant(trx, id)
        await changeFace(trx, id, request.body, byOf(request))
      })
      return toPlatformTenantView(await find(deps, id))
    },
  )

  app.delete(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Delete a tenant; with purge=true without any grace',
        params,
        querystring: Type.Object({ purge: Type.Boolean({ default: false }) }),
        response: answers({ 202: DeletedView }),
      },
    },
    async (request, reply) => {
      const { id } = await find(deps, request.params.id)
      const graceDays = request.query.purge ? 0 : deps.tenantGraceDays
      const deleted = await deleteTenant(deps, id, byOf(request), graceDays)
      reply.code(202)
      return deleted
    },
  )
}

const erasuresRoute = (app: App, deps: ControlDeps): void => {
  app.get(
    '/platform/erasures',
    {
      config,
      schema: {
        tags,
        summary: 'Certificates of tenants that were erased, newest first',
        querystring: PageQuery,
        response: answers({ 200: Page(ErasureView) }),
      },
    },
    async ({ query: { limit, cursor } }) => {
      const page = toPage(await listErasures(deps.db, { limit, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toErasureView), nextCursor: page.nextCursor }
    },
  )
}

const moves = {
  suspend: { move: suspendTenant, summary: 'Keep everybody out of a tenant' },
  resume: { move: resumeTenant, summary: 'Let people into a suspended tenant again' },
  restore: { move: restoreTenant, summary: 'Take a deletion back, within its grace' },
}

/** What platform admins do with single tenants. */
export const platformTenantRoutes = (app: App, deps: ControlDeps): void => {
  createRoute(app, deps)
  oneRoutes(app, deps)
  erasuresRoute(app, deps)
  for (const [name, { move, summary }] of Object.entries(moves)) {
    app.post(
      `${base}/:id/${name}`,
      { config, schema: { tags, summary, params, response: answers({ 200: PlatformTenantView }) } },
      async (request) => {
        const { id } = await find(deps, request.params.id)
        await move(deps, id, byOf(request))
        return toPlatformTenantView(await find(deps, id))
      },
    )
  }
}
