import { finished, Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest, onRequestHookHandler, RouteHandlerMethod } from 'fastify'
import type { Permission } from '../access/catalogue.ts'
import type { Grants } from '../access/grants.ts'
import type { Grant } from '../access/holdings.ts'
import type { LazySignal } from '../connection-router/connection-router.ts'
import type { TenantDb } from '../connection-router/tenant-db.ts'
import { AppError } from '../kernel/errors.ts'
import type { TenantPlan } from '../kernel/plan-limits.ts'
import { refusalOfStatus } from '../kernel/tenant-status.ts'
import type { AccessRule, AnyMember } from './access-rules.ts'
import type { App } from './app.ts'
import { ClientSignal } from './client-signal.ts'
import { type Authenticate, type Caller, callerOf, type Identity } from './identity.ts'
import type { CountRequest } from './request-limit.ts'
import { refuseForeignHints } from './tenant-hints.ts'

const identityKey = 'freeholdIdentity'
const grantKey = 'freeholdGrant'
const leaseKey = 'freeholdLease'
const memberKey = 'freeholdMember'

/** Who an audit entry names. `system` is a system user; `platform_admin` one who has entered without being a member. */
type Actor = Readonly<{ kind: 'person' | 'platform_admin' | 'system'; id: string }>

/** What a handler in the tenant scope works with: one tenant, its database, and who asks. */
export type TenantScope<Schema> = Readonly<{
  tenantId: string
  personId: string
  actor: Actor
  db: TenantDb<Schema>
  caller: Caller
  grant: Pick<Grant, 'role' | 'permissions' | 'holder'>
}>

/** What a handler over the master works with: one tenant, who asks, and what they hold. No database of the tenant's. */
export type MemberScope = Readonly<{
  tenantId: string
  personId: string
  actor: Actor
  caller: Caller
  grant: Readonly<{ role: string; permissions: ReadonlySet<Permission> }>
}>

/** A lease of the connection router, whatever the tables behind it: the shell only carries it. */
type TenantLease = { readonly tenantId: string; readonly db: unknown; release(): void }

/** Who calls. Throws when the route's rule is `public`: there nobody has been identified. */
export const identityOf = (request: FastifyRequest): Identity => {
  const identity = request.getDecorator<Identity | null>(identityKey)
  if (identity === null) throw new Error('identityOf was called on a route that does not identify its caller')
  return identity
}

/** Only platform admins who have entered have an end of what they hold. */
const actorOf = ({ personId, system }: Identity, grant: Grant | null): Actor => {
  const person = grant?.expiresAt === undefined ? 'person' : 'platform_admin'
  return { kind: system ? 'system' : person, id: personId }
}

/** The tenant of this request. Throws outside the tenant scope. */
export const tenantScopeOf = <Schema>(request: FastifyRequest): TenantScope<Schema> => {
  const lease = request.getDecorator<(TenantLease & { readonly db: TenantDb<Schema> }) | null>(leaseKey)
  const grant = request.getDecorator<Grant | null>(grantKey)
  if (lease === null || grant === null) throw new Error('the tenant was asked for outside the tenant scope')
  const identity = identityOf(request)
  return {
    tenantId: lease.tenantId,
    personId: identity.personId,
    actor: actorOf(identity, grant),
    db: lease.db,
    caller: callerOf(request),
    grant,
  }
}

/** The plan of this request's tenant, as it was when the request was let in. Throws outside the tenant scope. */
export const tenantPlanOf = (request: FastifyRequest): TenantPlan => {
  const grant = request.getDecorator<Grant | null>(grantKey) ?? request.getDecorator<Grant | null>(memberKey)
  if (grant === null) throw new Error('the plan was asked for outside the tenant scope')
  return grant.plan
}

/** The tenant of this request and what its member holds there. Throws on every route that is no `memberRoute`. */
export const memberScopeOf = (request: FastifyRequest): MemberScope => {
  const grant = request.getDecorator<Grant | null>(memberKey)
  if (grant === null) throw new Error('the member was asked for outside a member route')
  const identity = identityOf(request)
  const { tenantId, role, permissions } = grant
  const actor = actorOf(identity, grant)
  return {
    ...{ tenantId, personId: identity.personId, actor, caller: callerOf(request) },
    grant: { role, permissions },
  }
}

/** The refusal of a member whose role in the tenant does not give them what a route asks for. */
export const lacking = ({ role }: Pick<Grant, 'role'>, permission: Permission): AppError =>
  new AppError('forbidden', `Your role ${role} does not have the permission ${permission}.`)

/** Throws unless the person, with what they hold in the token's tenant, may do what the rule names. */
const checkGrant = (grant: Grant | undefined, permission: Permission | AnyMember): Grant => {
  if (grant === undefined) throw new AppError('forbidden', 'You are not an active member of this tenant.')
  const closed = refusalOfStatus(grant.tenantStatus)
  if (closed !== undefined) throw closed
  if (permission !== 'any member' && !grant.permissions.has(permission)) throw lacking(grant, permission)
  return grant
}

type Deps = {
  authenticate: Authenticate
  grants: Grants
  lease: (tenantId: string, options: { signal: LazySignal }) => Promise<TenantLease>
  /**
   * Begins to open a connection of a tenant that has none, for a request that is being admitted; resolves when that has
   * begun. Never rejects.
   */
  warm: (tenantId: string) => Promise<void>
  countRequest: CountRequest
}

type TenantRule = Extract<AccessRule, { scope: 'tenant' }>

const adding = new Set(['POST', 'PUT', 'PATCH'])

/** Throws when nothing may be added in the tenant now, or its plan allows no more requests in this minute. */
const checkPlan = (
  { countRequest }: Deps,
  grant: Grant,
  { database, addsNothing, adds }: TenantRule,
  request: FastifyRequest,
  reply: FastifyReply,
): Grant => {
  countRequest(grant, reply)
  const { readOnly } = grant.plan
  const mayAdd = adds ?? (database && !addsNothing)
  if (readOnly !== undefined && mayAdd && adding.has(request.method)) throw readOnly
  return grant
}

/** Answers at once when everything is remembered. */
const enterTenant = (
  deps: Deps,
  identity: Identity,
  rule: TenantRule,
  request: FastifyRequest,
  reply: FastifyReply,
): Grant | Promise<Grant> => {
  const { grants, warm } = deps
  const { database } = rule
  const permission = rule.inWorkspaces ? 'any member' : rule.permission
  const enter = (grant: Grant | undefined): Grant =>
    checkPlan(deps, checkGrant(grant, permission), rule, request, reply)
  const { tenantId, personId } = identity
  if (tenantId === null) {
    throw new AppError(
      'tenant_required',
      'Choose a tenant with POST /auth/switch, then use the token it gives.',
    )
  }
  refuseForeignHints(request, tenantId)
  const grant = grants.peekGrant(tenantId, personId)
  if (grant !== undefined) return enter(grant)
  const look = () => grants.grant(tenantId, personId)
  return (database ? warm(tenantId).then(look) : look()).then(enter)
}

/** Checks the rule and keeps what it found on the request; a promise only when something had to be looked up. */
const admit = (
  deps: Deps,
  rule: Exclude<AccessRule, { scope: 'public' }>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> | undefined => {
  // Only a token that we signed gets here, so nobody can have us look up or open what is not theirs, or was.
  const expect = (tenantId: string, personId: string): Promise<void> | undefined => {
    const look = (): void => void deps.grants.grant(tenantId, personId).catch(() => {})
    // The longest way first: what is asked of the master meanwhile must not keep it from saying where the tenant is.
    if (rule.scope === 'tenant' && rule.database) return deps.warm(tenantId).then(look)
    look()
    return undefined
  }
  const found = deps.authenticate(request, rule.scope === 'tenant' ? expect : undefined)
  const check = (identity: Identity): Promise<void> | undefined => {
    request.setDecorator(identityKey, identity)
    if (rule.scope === 'platform' && !identity.platformAdmin) {
      throw new AppError('forbidden', 'Only platform admins may do this.')
    }
    if (rule.scope === 'account' && identity.system && rule.systemUsers !== true) {
      throw new AppError('forbidden', 'This is for people; system users have no account of their own.')
    }
    if (rule.scope !== 'tenant') return undefined
    const key = rule.database ? grantKey : memberKey
    const grant = enterTenant(deps, identity, rule, request, reply)
    if (grant instanceof Promise) return grant.then((looked) => request.setDecorator(key, looked))
    request.setDecorator(key, grant)
    return undefined
  }
  return found instanceof Promise ? found.then(check) : check(found)
}

export type Guards = {
  /** The hook that runs before anything else of a route, the body included, and admits only whom the rule names. */
  admit(rule: AccessRule): onRequestHookHandler
  /** Gives the handler the tenant's lease and takes it back when the handler, or the stream it returned, is done. */
  withTenant(handler: RouteHandlerMethod): RouteHandlerMethod
}

/** Prepares `app` to carry identity and lease on its requests, and returns the guards for the route ledger. */
export const createGuards = (app: App, deps: Deps): Guards => {
  for (const key of [identityKey, grantKey, leaseKey, memberKey]) app.decorateRequest(key, null)
  return {
    admit: (rule) => (request, reply, done) => {
      if (rule.scope === 'public') return done()
      // With warm caches nothing here waits: the hot path makes no promise.
      try {
        const looking = admit(deps, rule, request, reply)
        if (looking === undefined) done()
        else looking.then(() => done(), done)
      } catch (error) {
        done(error as Error)
      }
    },
    withTenant: (handler) =>
      async function withTenant(request, reply) {
        const grant = request.getDecorator<Grant | null>(grantKey)
        if (grant === null) throw new Error('a tenant handler ran without its guard')
        const client = new ClientSignal(reply.raw)
        const lease = await deps.lease(grant.tenantId, { signal: client })
        request.setDecorator(leaseKey, lease)
        let streaming = false
        try {
          const answer: unknown = await handler.call(this, request, reply)
          if (answer instanceof Readable) {
            streaming = true
            finished(answer, () => lease.release())
          }
          return answer
        } catch (error) {
          if (!client.aborted) throw error
          // Nobody is there to be told, and it is no fault of ours.
          return reply.hijack()
        } finally {
          if (!streaming) lease.release()
        }
      },
  }
}
