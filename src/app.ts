import { accountRoutes } from './control/auth/account-routes.ts'
import { linkPages } from './control/auth/link-pages.ts'
import { authRoutes } from './control/auth/routes.ts'
import type { ControlDeps } from './control/control-deps.ts'
import { providerRoutes } from './control/identities/provider-routes.ts'
import { identityRoutes } from './control/identities/routes.ts'
import { createTravellers } from './control/identities/travellers.ts'
import { invitationPage } from './control/invitations/page.ts'
import { invitationRoutes } from './control/invitations/routes.ts'
import { memberRoutes } from './control/members/routes.ts'
import { planRoutes } from './control/plans/platform-routes.ts'
import { subscriptionRoutes } from './control/plans/routes.ts'
import { platformAdminRoutes } from './control/platform/admins.ts'
import { platformAuditRoute } from './control/platform/audit.ts'
import { fleetRoutes } from './control/platform/fleet.ts'
import { routerRoute } from './control/platform/router.ts'
import { platformRoutes } from './control/platform/routes.ts'
import { statsRoute } from './control/platform/stats.ts'
import { platformTenantRoutes } from './control/platform/tenants.ts'
import { platformUserRoutes } from './control/platform/users.ts'
import { accessRoutes } from './control/roles/routes.ts'
import { auditKeysRoute } from './control/status/audit-keys.ts'
import { type ReadyPart, statusRoutes } from './control/status/routes.ts'
import { systemUserRoutes } from './control/system-users/routes.ts'
import { tenantSystemUserRoutes } from './control/system-users/tenant-routes.ts'
import { tokenRoute } from './control/system-users/token-route.ts'
import { tenantRoutes } from './control/tenants/routes.ts'
import { registerAccessTokens } from './http/access-tokens.ts'
import type { App } from './http/app.ts'
import { createSessionCookies } from './http/cookies.ts'
import { registerCors } from './http/cors.ts'
import { documentationRoutes, registerOpenApi } from './http/documentation.ts'
import { createGuards } from './http/guards.ts'
import { createAuthenticate } from './http/identity.ts'
import { registerMetrics } from './http/metrics.ts'
import { createOriginCheck } from './http/origins.ts'
import { limitByAddress } from './http/rate-limit.ts'
import { countRequests } from './http/request-limit.ts'
import { type LedgerEntry, openRouteLedger } from './http/route-ledger.ts'
import { collectRouterMetrics } from './http/router-metrics.ts'
import { securityHeaders } from './http/security-headers.ts'
import { createServer } from './http/server.ts'
import type { Config } from './kernel/config.ts'
import { isAppError } from './kernel/errors.ts'
import { anchorOf, findCheckpoint } from './master/audit-checkpoints.ts'
import { auditJwks } from './master/audit-keys.ts'
import type { Provider } from './oidc/provider.ts'
import type { Service } from './service.ts'
import { analyticsRoutes } from './tenant/analytics/routes.ts'
import { type AuditDeps, auditRoutes } from './tenant/audit/routes.ts'
import { jobRoutes } from './tenant/jobs/routes.ts'
import { projectRoutes } from './tenant/projects/routes.ts'
import { scheduleRoutes } from './tenant/schedules/routes.ts'
import { readSettings, writeSettings } from './tenant/settings/queries.ts'
import type { TenantDb } from './tenant/tenant-scope.ts'
import { readCounts } from './tenant/usage/queries.ts'
import { userRoutes } from './tenant/users/routes.ts'
import { workspaceMemberRoutes } from './tenant/workspaces/member-routes.ts'
import { workspaceRoutes } from './tenant/workspaces/routes.ts'
import { version } from './version.ts'

/**
 * Reads something in a tenant's own database; undefined while that can't be asked, or answers nonsense: one tenant's fault
 * must not keep its people from signing in, or operators from looking at it.
 */
const tenantReader =
  <T>(service: Service, what: string, read: (db: TenantDb) => Promise<T>) =>
  async (tenantId: string): Promise<T | undefined> => {
    try {
      return await service.router.use(tenantId, read)
    } catch (error) {
      const message = `a tenant's ${what} could not be read`
      if (isAppError(error)) service.log.warn({ tenantId, code: error.code }, message)
      else service.log.error({ tenantId, err: error }, message)
      return undefined
    }
  }

/** What the master keeps of a tenant's audit log: how far it is sealed. */
const sealFinder =
  ({ master }: Service): AuditDeps['findSeal'] =>
  async (tenantId) => {
    const row = await findCheckpoint(master.db, tenantId)
    return {
      anchor: anchorOf(row),
      checkpoint: row && {
        ...{ tenantId, position: Number(row.position), hash: row.hash, at: row.updated_at.toISOString() },
        ...{ checkpoint: row.checkpoint, prunedTo: Number(row.pruned_position), pruned: row.pruned },
      },
    }
  }

/** Those that people may sign in with. What speaks their protocol is only loaded where there are some. */
const openProviders = async ({ signInProviders }: Config): Promise<Provider[]> => {
  if (signInProviders.length === 0) return []
  const { createProvider } = await import('./oidc/provider.ts')
  return signInProviders.map(createProvider)
}

/** Builds the HTTP application of a node: the ledger first, then every route. Listens to nothing yet. */
export const buildApp = async (
  service: Service,
  checkReady: () => Promise<ReadyPart[]>,
): Promise<{ app: App; routes: readonly LedgerEntry[] }> => {
  const { config, clock, grants, keys, router } = service
  const app = createServer(service.log, {
    trustedProxies: config.trustedProxies,
    headers: securityHeaders(config.publicUrl),
  })
  await registerCors(app, config.corsOrigins)
  const tokens = await registerAccessTokens(app, {
    keys,
    issuer: config.publicUrl,
    seconds: config.accessTokenSeconds,
    clock,
  })
  const cookies = createSessionCookies(config.publicUrl)
  const refuseForeignPages = createOriginCheck(config.publicUrl, config.corsOrigins)
  const authenticate = createAuthenticate(tokens, grants, clock, { cookies, refuseForeignPages })
  const countRequest = countRequests(service.requests, config.rateLimits)
  const guards = createGuards(app, {
    authenticate,
    grants,
    lease: (tenantId, options) => router.lease(tenantId, options),
    warm: (tenantId) => router.warm(tenantId),
    countRequest,
  })
  const ledger = openRouteLedger(app, guards)
  const metrics = registerMetrics(app, (registry) =>
    collectRouterMetrics(registry, () => router.stats(), service.budgets),
  )
  await registerOpenApi(app, { version, publicUrl: config.publicUrl, cookie: cookies.accessName })

  const control: ControlDeps = {
    db: service.master.db,
    box: service.box,
    grants,
    passwords: service.passwords,
    limits: service.limits,
    limitByAddress: limitByAddress(service.limits),
    tokens,
    accessTokenSeconds: config.accessTokenSeconds,
    cookies,
    refuseForeignPages,
    authenticate,
    publicUrl: config.publicUrl,
    signUpOpen: config.signUp === 'open',
    signUpInvited: config.signUp !== 'closed',
    verifyEmail: config.verifyEmail,
    manager: service.manager,
    tenantGraceDays: config.tenantGraceDays,
    readSettings: tenantReader(service, 'settings', readSettings),
    readTenantCounts: tenantReader(service, 'usage', readCounts),
    countRequest,
    readRequestCount: (tenantId) => service.requests.used(tenantId),
    writeSettings: (tenantId, who, change) =>
      router.use(tenantId, (db) => writeSettings(db, { tenantId, ...who }, change)),
  }
  const providers = {
    ...control,
    providers: await openProviders(config),
    travellers: createTravellers(service.box, clock),
    returnOrigins: config.returnOrigins,
    signUp: config.signUp,
  }
  // Public
  statusRoutes(app, { version, checkReady, metrics, metricsToken: config.metricsToken, keys })
  auditKeysRoute(app, () => auditJwks(service.master.db))
  documentationRoutes(app)
  // Account
  authRoutes(app, control)
  accountRoutes(app, control)
  tokenRoute(app, control)
  linkPages(app)
  providerRoutes(app, providers)
  identityRoutes(app, providers)
  invitationPage(app)
  tenantRoutes(app, control)
  // Tenant and platform
  accessRoutes(app, control)
  planRoutes(app, control)
  subscriptionRoutes(app, control)
  invitationRoutes(app, control)
  // Tenant
  memberRoutes(app, control)
  userRoutes(app)
  analyticsRoutes(app)
  workspaceRoutes(app)
  workspaceMemberRoutes(app)
  projectRoutes(app)
  jobRoutes(app, service)
  scheduleRoutes(app, service)
  auditRoutes(app, { findSeal: sealFinder(service) })
  tenantSystemUserRoutes(app, control)
  // Platform
  platformRoutes(app, control)
  platformTenantRoutes(app, control)
  platformUserRoutes(app, control)
  platformAdminRoutes(app, control)
  systemUserRoutes(app, control)
  fleetRoutes(app, control)
  platformAuditRoute(app, control)
  const ownRouter = { nodeId: service.nodeId, stats: () => router.stats() }
  routerRoute(app, control, ownRouter)
  statsRoute(app, control, ownRouter)

  await app.ready()
  return { app, routes: ledger.entries }
}
