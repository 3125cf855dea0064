import { Type } from 'typebox'
import { cataloguedPermissions } from '../../access/catalogue.ts'
import type { App } from '../../http/app.ts'
import { answers } from '../../http/schemas.ts'
import { authorizeRoutes } from './authorize.ts'
import { type Surface, surfaces } from './editor.ts'
import type { Deps } from './named-routes.ts'
import { policyRoutes } from './policy-routes.ts'
import { roleRoutes } from './role-routes.ts'
import { PermissionView } from './schemas.ts'

const catalogueRoute = (app: App, { base, tags, rule }: Surface): void => {
  const whole = { data: [...cataloguedPermissions], nextCursor: null }
  app.get(
    `${base}/permissions`,
    {
      config: rule('tenant-api:permission:read'),
      schema: {
        tags,
        summary: 'The catalogue of permissions, whole',
        response: answers({
          200: Type.Object({ data: Type.Array(PermissionView), nextCursor: Type.Null() }),
        }),
      },
    },
    async () => whole,
  )
}

/** Roles hold policies, policies hold permissions: a tenant's own, and those that all tenants have. */
export const accessRoutes = (app: App, deps: Deps): void => {
  for (const surface of surfaces) {
    roleRoutes(app, deps, surface)
    policyRoutes(app, deps, surface)
    catalogueRoute(app, surface)
  }
  authorizeRoutes(app, deps)
}
