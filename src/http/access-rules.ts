import type { Permission } from '../access/catalogue.ts'

/** Every active member of the token's tenant, whatever their role. */
export type AnyMember = 'any member'

/** Who may call a route. Every route carries exactly one rule; without it the app does not boot. */
export type AccessRule =
  | { readonly scope: 'public'; readonly reason: string }
  | { readonly scope: 'account'; readonly systemUsers?: true }
  | {
      readonly scope: 'tenant'
      readonly permission: Permission | AnyMember
      readonly database: boolean
      /** The handler refuses who lacks the permission: they may have it in a workspace. */
      readonly inWorkspaces?: true
      /** Allowed whatever its method is while nothing may be added in the tenant. */
      readonly addsNothing?: true
      /** Refused while nothing may be added, though it leaves the tenant's database alone. */
      readonly adds?: true
    }
  | { readonly scope: 'platform' }

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: AccessRule
  }
}

type RouteConfig = { access: AccessRule }

/** Anybody, signed in or not. `reason` says why that is right; it stands in the list of routes. */
export const publicRoute = (reason: string): RouteConfig => ({ access: { scope: 'public', reason } })

/** Any signed-in person; no tenant needed. System users, which have no account to keep, only where it says so. */
export const accountRoute = (also: { systemUsers?: true } = {}): RouteConfig => ({
  access: { scope: 'account', ...also },
})

/**
 * A member of the token's tenant whose role grants `permission`; the handler runs with that tenant's database. While its
 * plan has ended, or it holds more than the plan allows, only GET and DELETE, and what `addsNothing`.
 */
export const tenantRoute = (permission: Permission, also: { addsNothing?: true } = {}): RouteConfig => ({
  access: { scope: 'tenant', permission, database: true, ...also },
})

/**
 * As `tenantRoute`, and also for members who hold `permission` by their role in a workspace. That is kept in the tenant's
 * database, so the guard lets every member in: the handler must begin with `accessInWorkspaces`.
 */
export const workspaceRoute = (permission: Permission): RouteConfig => ({
  access: { scope: 'tenant', permission, database: true, inWorkspaces: true },
})

/**
 * A member of the token's tenant whose role grants `permission`, for what the master keeps about the tenant. Admits
 * exactly whom `tenantRoute` would; the tenant's database is neither leased nor opened. See `memberScopeOf`. While the plan
 * has ended all goes on but what `adds`.
 */
export const memberRoute = (permission: Permission | AnyMember, also: { adds?: true } = {}): RouteConfig => ({
  access: { scope: 'tenant', permission, database: false, ...also },
})

/** A platform admin. */
export const platformRoute = (): RouteConfig => ({ access: { scope: 'platform' } })
