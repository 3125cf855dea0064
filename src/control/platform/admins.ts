import { mustLeaveAdmin } from '../../access/platform-admins.ts'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import type { ControlDeps } from '../control-deps.ts'
import { changePerson, type LockedPerson, personDetail } from './change-person.ts'
import { listPeople, setPlatformAdmin } from './people-queries.ts'
import { AdminBody, AdminsQuery, PersonDetail, PersonView, toPersonView } from './people-schemas.ts'

const tags = ['Platform']
const base = '/platform/admins'
const config = platformRoute()

type Deps = Pick<ControlDeps, 'db' | 'grants'>

const mustBeFit = (person: LockedPerson, named: { id: string } | { email: string }): void => {
  if (person.disabled_at !== null) {
    throw new AppError('conflict', 'This person is disabled; enable them first.')
  }
  // Whoever made the account may not be who owns the address.
  if ('email' in named && person.email_verified_at === null) {
    throw new AppError(
      'email_not_verified',
      'Nobody has proved that this address is theirs. Have it confirmed, or name the account by its userId.',
    )
  }
}

const listRoute = (app: App, deps: Deps): void => {
  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'All platform admins',
        querystring: AdminsQuery,
        response: answers({ 200: Page(PersonView) }),
      },
    },
    async ({ query: { limit, cursor, ...filter } }) => {
      const wanted = { ...filter, platformAdmin: true }
      const page = toPage(await listPeople(deps.db, { limit, after: readCursor(cursor) }, wanted), limit)
      return { data: page.data.map(toPersonView), nextCursor: page.nextCursor }
    },
  )
}

const changeRoutes = (app: App, deps: Deps): void => {
  app.post(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'Make a person a platform admin',
        description: '200 when they are one already. By email only with a verified address.',
        body: AdminBody,
        response: answers({ 200: PersonDetail, 201: PersonDetail }),
      },
    },
    async (request, reply) => {
      const { userId, email = '' } = request.body
      const who = userId === undefined ? { email } : { id: userId }
      const input = { action: 'platform_admin.added' }
      const { id, changed } = await changePerson(deps, request, who, input, async (trx, person) => {
        if (person.platform_admin) return false
        mustBeFit(person, who)
        await setPlatformAdmin(trx, person.id, true)
        return true
      })
      reply.code(changed ? 201 : 200)
      return personDetail(deps, id)
    },
  )
  app.delete(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Take the rights of a platform admin away',
        description: 'The account stays. The last one that can sign in is `last_admin`.',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const input = { action: 'platform_admin.removed' }
      await changePerson(deps, request, { id }, input, async (trx, person) => {
        if (!person.platform_admin) {
          throw new AppError('not_found', 'There is no platform admin with this id.')
        }
        await mustLeaveAdmin(trx, id)
        await setPlatformAdmin(trx, id, false)
        return true
      })
      return reply.code(204).send(null)
    },
  )
}

/** Who operates the whole installation. */
export const platformAdminRoutes = (app: App, deps: Deps): void => {
  listRoute(app, deps)
  changeRoutes(app, deps)
}
