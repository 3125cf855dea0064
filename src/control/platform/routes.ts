import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers } from '../../http/schemas.ts'
import { listTenants } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { PlatformTenantView, toPlatformTenantView } from './schemas.ts'

const tags = ['Platform']

/** What platform admins see of the whole installation. Nothing here opens a tenant's database. */
export const platformRoutes = (app: App, deps: Pick<ControlDeps, 'db'>): void => {
  app.get(
    '/platform/tenants',
    {
      config: platformRoute(),
      schema: {
        tags,
        summary: 'All tenants',
        querystring: PageQuery,
        response: answers({ 200: Page(PlatformTenantView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const page = toPage(await listTenants(deps.db, { limit: limit + 1, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toPlatformTenantView), nextCursor: page.nextCursor }
    },
  )
}
