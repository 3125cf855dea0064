import { endSessionsOf } from '../../access/end-session.ts'
import { mustLeaveAdmin } from '../../access/platform-admins.ts'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams } from '../../http/schemas.ts'
import type { ControlDeps } from '../control-deps.ts'
import { changePerson, personDetail } from './change-person.ts'
import { listPeople, setDisabled } from './people-queries.ts'
import {
  EndedView,
  PeopleQuery,
  PersonDetail,
  PersonView,
  ReasonBody,
  toPersonView,
} from './people-schemas.ts'

const tags = ['Platform']
const base = '/platform/users'
const config = platformRoute()

type Deps = Pick<ControlDeps, 'db' | 'grants'>

const readRoutes = (app: App, deps: Deps): void => {
  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'All people; system users are at /platform/system-users',
        querystring: PeopleQuery,
        response: answers({ 200: Page(PersonView) }),
      },
    },
    async ({ query: { limit, cursor, ...filter } }) => {
      const page = toPage(await listPeople(deps.db, { limit, after: readCursor(cursor) }, filter), limit)
      return { data: page.data.map(toPersonView), nextCursor: page.nextCursor }
    },
  )
  app.get(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'One person and their tenants',
        params: IdParams,
        response: answers({ 200: PersonDetail }),
      },
    },
    async ({ params }) => personDetail(deps, params.id),
  )
}

const disableRoutes = (app: App, deps: Deps): void => {
  app.post(
    `${base}/:id/disable`,
    {
      config,
      schema: {
        tags,
        summary: 'Disable a person',
        description: 'Their sessions end at once, and they cannot sign in until they are enabled again.',
        params: IdParams,
        body: ReasonBody,
        response: answers({ 200: PersonDetail }),
      },
    },
    async (request) => {
      const { id } = request.params
      const input = { action: 'person.disabled', reason: request.body?.reason }
      await changePerson(deps, request, { id }, input, async (trx, person) => {
        if (person.disabled_at !== null) return false
        if (person.platform_admin) await mustLeaveAdmin(trx, id)
        await setDisabled(trx, id, true)
        await endSessionsOf(trx, id, 'disabled')
        return true
      })
      return personDetail(deps, id)
    },
  )
  app.post(
    `${base}/:id/enable`,
    {
      config,
      schema: {
        tags,
        summary: 'Let a disabled person sign in again',
        params: IdParams,
        body: ReasonBody,
        response: answers({ 200: PersonDetail }),
      },
    },
    async (request) => {
      const { id } = request.params
      const input = { action: 'person.enabled', reason: request.body?.reason }
      await changePerson(deps, request, { id }, input, async (trx, person) => {
        if (person.disabled_at === null) return false
        await setDisabled(trx, id, false)
        return true
      })
      return personDetail(deps, id)
    },
  )
}

const endSessionsRoute = (app: App, deps: Deps): void => {
  app.post(
    `${base}/:id/end-sessions`,
    {
      config,
      schema: {
        tags,
        summary: 'Sign a person out everywhere',
        description: 'Their tokens are refused at once; they can sign in again.',
        params: IdParams,
        body: ReasonBody,
        response: answers({ 200: EndedView }),
      },
    },
    async (request) => {
      const { id } = request.params
      const input = { action: 'person.sessions_ended', reason: request.body?.reason }
      let ended = 0
      await changePerson(deps, request, { id }, input, async (trx) => {
        ended = await endSessionsOf(trx, id, 'revoked')
        return true
      })
      return { ended }
    },
  )
}

/** Everybody who has an account here. */
export const platformUserRoutes = (app: App, deps: Deps): void => {
  readRoutes(app, deps)
  disableRoutes(app, deps)
  endSessionsRoute(app, deps)
}
