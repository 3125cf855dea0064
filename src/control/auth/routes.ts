import { type IssuedSession, switchSession } from '../../access/sessions.ts'
import { accountRoute, publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { findMyTenant, listMyTenants } from '../../master/memberships.ts'
import { findPerson } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { toTenantChoice } from '../tenants/tenant-view.ts'
import { findEnterableTenant, nowhere, placeIn } from './place.ts'
import { findSession } from './queries.ts'
import {
  ContextView,
  LoginBody,
  RefreshBody,
  RegisterBody,
  SessionView,
  SwitchBody,
  SwitchView,
  TokensView,
  toUserView,
} from './schemas.ts'
import { login, logout, refresh, register, type SignedIn } from './session-flows.ts'

const tags = ['Account']

const tokensOf = (deps: ControlDeps, issued: IssuedSession) => ({
  accessToken: deps.tokens.issue(issued),
  refreshToken: issued.refreshToken,
  tokenType: 'Bearer' as const,
  expiresIn: deps.accessTokenSeconds,
})

const sessionAnswer = async (deps: ControlDeps, { person, issued, tenants, chosen }: SignedIn) => ({
  user: toUserView(person),
  ...(await placeIn(deps, person.id, chosen)),
  tenants: tenants.map(toTenantChoice),
  ...tokensOf(deps, issued),
})

const signInRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/register',
    {
      config: publicRoute('signing up is how one gets an account'),
      schema: { tags, summary: 'Sign up', body: RegisterBody, response: answers({ 201: SessionView }) },
    },
    async (request, reply) => {
      reply.code(201)
      return sessionAnswer(deps, await register(deps, request.body, callerOf(request)))
    },
  )

  app.post(
    '/auth/login',
    {
      config: publicRoute('the password is the proof'),
      schema: { tags, summary: 'Sign in', body: LoginBody, response: answers({ 200: SessionView }) },
    },
    async (request) => sessionAnswer(deps, await login(deps, request.body, callerOf(request))),
  )

  app.post(
    '/auth/refresh',
    {
      config: publicRoute('the refresh token is the proof'),
      schema: { tags, summary: 'Get new tokens', body: RefreshBody, response: answers({ 200: TokensView }) },
    },
    async (request) => tokensOf(deps, await refresh(deps, request.body.refreshToken, callerOf(request))),
  )
}

const sessionRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/logout',
    {
      config: accountRoute(),
      schema: { tags, summary: 'End this session', response: answers({ 204: NoContent }) },
    },
    async (request, reply) => {
      await logout(deps, identityOf(request), callerOf(request))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/auth/switch',
    {
      config: accountRoute(),
      schema: { tags, summary: 'Choose a tenant', body: SwitchBody, response: answers({ 200: SwitchView }) },
    },
    async (request) => {
      const { personId, sessionId } = identityOf(request)
      const wanted = request.body.tenant
      const tenant = wanted === null ? undefined : await findEnterableTenant(deps.db, personId, wanted)
      const issued = await deps.db
        .transaction()
        .execute((trx) => switchSession(trx, deps.box, sessionId, tenant?.id ?? null))
      if (issued === undefined) throw new AppError('unauthenticated', 'The session has ended; sign in again.')
      return { ...tokensOf(deps, issued), ...(await placeIn(deps, personId, tenant)) }
    },
  )

  app.get(
    '/auth/context',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Who am I, where, and what may I do',
        response: answers({ 200: ContextView }),
      },
    },
    async (request) => {
      const { personId, sessionId, tenantId } = identityOf(request)
      const [person, session, tenants, chosen] = await Promise.all([
        findPerson(deps.db, personId),
        findSession(deps.db, sessionId),
        listMyTenants(deps.db, personId),
        tenantId === null ? undefined : findMyTenant(deps.db, personId, tenantId),
      ])
      if (person === undefined || session === undefined) {
        throw new AppError('unauthenticated', 'The session has ended; sign in again.')
      }
      const place = chosen === undefined ? nowhere : await placeIn(deps, personId, chosen)
      return { user: toUserView(person), ...place, tenants: tenants.map(toTenantChoice), session }
    },
  )
}

/** Signing up, signing in, and the session that follows. */
export const authRoutes = (app: App, deps: ControlDeps): void => {
  signInRoutes(app, deps)
  sessionRoutes(app, deps)
}
