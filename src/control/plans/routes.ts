import { Type } from 'typebox'
import { memberRoute, platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { memberScopeOf } from '../../http/guards.ts'
import { answers, Line } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterDb } from '../../master/master.ts'
import { findPlan, listChoices } from '../../master/plans.ts'
import { findSubscription } from '../../master/subscriptions.ts'
import { findTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { byOf } from '../platform/by.ts'
import {
  ChoosePlanBody,
  GivePlanBody,
  SubscriptionView,
  toPlanFace,
  toTermsView,
  UsageView,
} from './schemas.ts'
import { choosePlan, givePlan } from './subscription.ts'
import { readUsage } from './usage.ts'

/** A tenant's subscription as its members and platform admins see it. */
const view = async (db: MasterDb, tenantId: string) => {
  const tenant = await findTenant(db, tenantId)
  const plan = tenant && (await findPlan(db, tenant.plan))
  if (plan === undefined) throw new AppError('not_found', 'There is no such tenant.')
  return {
    plan: toPlanFace(plan),
    ...toTermsView(await findSubscription(db, tenantId)),
    choices: (await listChoices(db)).map(toPlanFace),
  }
}

const tenantRoutes = (app: App, deps: ControlDeps): void => {
  const tags = ['Plans']
  app.get(
    '/api/tenant/usage',
    {
      config: memberRoute('tenant-api:billing:read'),
      schema: {
        tags,
        summary: 'What this tenant uses of its plan',
        description: 'What only its own database can tell is null while that cannot be asked.',
        response: answers({ 200: UsageView }),
      },
    },
    async (request) => readUsage(deps, memberScopeOf(request).tenantId),
  )

  app.get(
    '/api/tenant/subscription',
    {
      config: memberRoute('tenant-api:billing:read'),
      schema: {
        tags,
        summary: "This tenant's plan, and until when",
        response: answers({ 200: SubscriptionView }),
      },
    },
    async (request) => view(deps.db, memberScopeOf(request).tenantId),
  )

  app.put(
    '/api/tenant/subscription',
    {
      config: memberRoute('tenant-api:billing:update'),
      schema: {
        tags,
        summary: 'Choose another plan',
        description:
          'A plan with a trial begins with it, once. 409 when the tenant has more than the plan allows: `errors` says of what.',
        body: ChoosePlanBody,
        response: answers({ 200: SubscriptionView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      await choosePlan(deps, scope, request.body.plan)
      return view(deps.db, scope.tenantId)
    },
  )
}

const platformRoutes = (app: App, deps: ControlDeps): void => {
  const tags = ['Platform']
  const config = platformRoute()
  const params = Type.Object({ id: Line({ maxLength: 63, description: 'Id or slug' }) })
  const find = async (idOrSlug: string): Promise<string> => {
    const tenant = await findTenant(deps.db, idOrSlug)
    if (tenant === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
    return tenant.id
  }
  app.get(
    '/platform/tenants/:id/subscription',
    {
      config,
      schema: {
        tags,
        summary: "A tenant's plan, and until when",
        params,
        response: answers({ 200: SubscriptionView }),
      },
    },
    async (request) => view(deps.db, await find(request.params.id)),
  )

  app.put(
    '/platform/tenants/:id/subscription',
    {
      config,
      schema: {
        tags,
        summary: 'Give a tenant a plan',
        description:
          'Also one that it has more of something than the plan allows: it keeps that, and gets no more of it.',
        params,
        body: GivePlanBody,
        response: answers({ 200: SubscriptionView }),
      },
    },
    async (request) => {
      const id = await find(request.params.id)
      await givePlan(deps, id, request.body, byOf(request))
      return view(deps.db, id)
    },
  )
}

/** Which plan a tenant has, until when, and what it uses of it. */
export const subscriptionRoutes = (app: App, deps: ControlDeps): void => {
  tenantRoutes(app, deps)
  platformRoutes(app, deps)
}
