import { accountRoute, platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { findPlan, listChoices, listPlans } from '../../master/plans.ts'
import type { ControlDeps } from '../control-deps.ts'
import { byOf } from '../platform/by.ts'
import { changePlan, createPlan, deletePlan, noPlan } from './changes.ts'
import {
  CreatePlanBody,
  PatchPlanBody,
  PlanFace,
  PlanParams,
  PlatformPlanView,
  toPlanFace,
  toPlatformPlanView,
} from './schemas.ts'

const tags = ['Platform']
const base = '/platform/plans'
const config = platformRoute()

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/plans',
    {
      config: accountRoute(),
      schema: {
        tags: ['Plans'],
        summary: 'The plans that a new tenant can begin with',
        response: answers({ 200: Page(PlanFace) }),
      },
    },
    async () => ({ data: (await listChoices(deps.db)).map(toPlanFace), nextCursor: null }),
  )

  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'All plans',
        querystring: PageQuery,
        response: answers({ 200: Page(PlatformPlanView) }),
      },
    },
    async ({ query: { limit, cursor } }) => {
      const page = toPage(await listPlans(deps.db, { limit, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toPlatformPlanView), nextCursor: page.nextCursor }
    },
  )

  app.get(
    `${base}/:key`,
    {
      config,
      schema: { tags, summary: 'One plan', params: PlanParams, response: answers({ 200: PlatformPlanView }) },
    },
    async ({ params: { key } }) => {
      const plan = await findPlan(deps.db, key)
      if (plan === undefined) throw noPlan()
      return toPlatformPlanView(plan)
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'Make a plan',
        body: CreatePlanBody,
        response: answers({ 201: PlatformPlanView }),
      },
    },
    async (request, reply) => {
      const plan = await createPlan(deps, request.body, byOf(request))
      reply.code(201).header('location', `${base}/${plan.key}`)
      return toPlatformPlanView(plan)
    },
  )

  app.patch(
    `${base}/:key`,
    {
      config,
      schema: {
        tags,
        summary: 'Change or archive a plan, for all who have it',
        description: 'Limits that are left out stay. Nobody loses what they have beyond a new limit.',
        params: PlanParams,
        body: PatchPlanBody,
        response: answers({ 200: PlatformPlanView }),
      },
    },
    async (request) =>
      toPlatformPlanView(await changePlan(deps, request.params.key, request.body, byOf(request))),
  )

  app.delete(
    `${base}/:key`,
    {
      config,
      schema: {
        tags,
        summary: 'Delete a plan that nobody has',
        params: PlanParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await deletePlan(deps, request.params.key, byOf(request))
      return reply.code(204).send(null)
    },
  )
}

/** Plans, as platform admins keep them and everybody else chooses from them. */
export const planRoutes = (app: App, deps: ControlDeps): void => {
  readRoutes(app, deps)
  changeRoutes(app, deps)
}
