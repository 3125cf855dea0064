import type { FastifyReply } from 'fastify'
import { readCsrfToken } from '../../access/sessions.ts'
import { systemTokenSeconds } from '../../access/system-users.ts'
import { accountRoute, publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { findAnyTenant, findMyTenant, listMyTenants } from '../../master/memberships.ts'
import { findPerson } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import type { SystemSignedIn } from '../system-users/sign-in.ts'
import { toTenantChoice } from '../tenants/tenant-view.ts'
import { deliverTokens, endReplacedSession, presentedRefreshToken, wantedMode } from './deliver-tokens.ts'
import { enterAsPlatformAdmin, findTenantToEnter } from './enter-tenant.ts'
import { addressLimits } from './limits.ts'
import { mustBeEnterable, nowhere, placeIn } from './place.ts'
import { findSession } from './queries.ts'
import {
  AcceptedView,
  ContextView,
  LoginBody,
  LoginView,
  ModeHeaders,
  RefreshBody,
  RegisterBody,
  SessionView,
  SwitchBody,
  SwitchView,
  TokensView,
  toUserView,
} from './schemas.ts'
import { chooseTenantOf, endOwnSession, refresh } from './session-flows.ts'
import { login, type SignedIn } from './sign-in.ts'
import { register, registerInvited, requestSignUp } from './sign-up.ts'

const tags = ['Account']

/** The answer of every way of signing in. */
export const sessionAnswer = async (
  deps: ControlDeps,
  reply: FastifyReply,
  { person, issued, tenants, chosen }: SignedIn,
) => {
  const place = await placeIn(deps, person.id, chosen)
  await endReplacedSession(deps, reply.request, issued)
  return {
    user: toUserView(person),
    ...place,
    tenants: tenants.map(toTenantChoice),
    ...deliverTokens(deps, reply, issued),
  }
}

/** The same for a system user, whose token can't be refreshed. */
const systemAnswer = async (
  deps: ControlDeps,
  { systemUserId, accessToken, tenants, chosen }: SystemSignedIn,
) => {
  const person = await findPerson(deps.db, systemUserId)
  if (person === undefined) throw new AppError('unauthenticated', 'There is no such account any more.')
  return {
    user: toUserView(person),
    ...(await placeIn(deps, systemUserId, chosen)),
    tenants: tenants.map(toTenantChoice),
    accessToken,
    tokenType: 'Bearer' as const,
    expiresIn: systemTokenSeconds,
  }
}

/** The tenant of a session, whatever its person may still do there. */
const findChosen = async (
  { db }: Pick<ControlDeps, 'db'>,
  who: { personId: string; tenantId: string; platformAdmin: boolean },
) =>
  (await findMyTenant(db, who.personId, who.tenantId)) ??
  (who.platformAdmin ? findAnyTenant(db, who.tenantId) : undefined)

const signUpRoute = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/register',
    {
      ...deps.limitByAddress(addressLimits.signUp),
      config: publicRoute('signing up is how one gets an account'),
      schema: {
        tags,
        summary: 'Sign up',
        description:
          'With VERIFY_EMAIL=before the answer is always 202, and a mail says how to go on; with an invitation it is 201.',
        headers: ModeHeaders,
        body: RegisterBody,
        response: answers({ 201: SessionView, 202: AcceptedView }),
      },
    },
    async (request, reply) => {
      const mode = wantedMode(deps, request)
      const { invitationToken, ...given } = request.body
      const registration = { ...given, mode }
      const caller = callerOf(request)
      if (invitationToken !== undefined) {
        const invited = await registerInvited(deps, registration, invitationToken, caller)
        reply.code(201)
        return sessionAnswer(deps, reply, invited)
      }
      if (deps.verifyEmail === 'after') {
        const registered = await register(deps, registration, caller)
        reply.code(201)
        return sessionAnswer(deps, reply, registered)
      }
      await requestSignUp(deps, registration, caller)
      reply.code(202)
      return { message: 'A mail to this address says how to go on.' }
    },
  )
}

const signInRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/login',
    {
      ...deps.limitByAddress(addressLimits.signIn, 'failures'),
      config: publicRoute('the password is the proof'),
      schema: {
        tags,
        summary: 'Sign in',
        description:
          'A person by password; a system user by its secret, which gives an access token for 24 hours and no refresh token.',
        headers: ModeHeaders,
        body: LoginBody,
        response: answers({ 200: LoginView }),
      },
    },
    async (request, reply) => {
      const mode = wantedMode(deps, request)
      const signedIn = await login(deps, { ...request.body, mode }, callerOf(request))
      if (!('system' in signedIn)) return sessionAnswer(deps, reply, signedIn)
      return systemAnswer(deps, signedIn.system)
    },
  )

  app.post(
    '/auth/refresh',
    {
      ...deps.limitByAddress(addressLimits.refresh),
      config: publicRoute('the refresh token is the proof'),
      schema: {
        tags,
        summary: 'Get new tokens',
        headers: ModeHeaders,
        body: RefreshBody,
        response: answers({ 200: TokensView }),
      },
    },
    async (request, reply) => {
      const presented = presentedRefreshToken(deps, request)
      return deliverTokens(deps, reply, await refresh(deps, presented, callerOf(request)))
    },
  )
}

const sessionRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/logout',
    {
      config: accountRoute({ systemUsers: true }),
      schema: { tags, summary: 'End this session', response: answers({ 204: NoContent }) },
    },
    async (request, reply) => {
      const who = identityOf(request)
      await endOwnSession(deps, who, 'logout', callerOf(request))
      if (who.inCookies) deps.cookies.clear(reply)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/auth/switch',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Choose a tenant',
        description:
          'Platform admins may enter a tenant without being a member, for an hour and with a `reason`; its Admins are told.',
        body: SwitchBody,
        response: answers({ 200: SwitchView }),
      },
    },
    async (request, reply) => {
      const who = identityOf(request)
      const { personId } = who
      const { tenant: wanted, reason } = request.body
      const mine = wanted === null ? undefined : await findMyTenant(deps.db, personId, wanted)
      if (who.platformAdmin && wanted !== null && mine === undefined) {
        const tenant = await findTenantToEnter(deps.db, wanted, reason)
        const issued = await enterAsPlatformAdmin(deps, who, tenant, callerOf(request))
        return { ...(await placeIn(deps, personId, tenant)), ...deliverTokens(deps, reply, issued) }
      }
      const tenant = wanted === null ? undefined : mustBeEnterable(mine)
      const issued = await chooseTenantOf(deps, who, tenant?.id ?? null, callerOf(request))
      const place = await placeIn(deps, personId, tenant)
      return { ...deliverTokens(deps, reply, issued), ...place }
    },
  )

  app.get(
    '/auth/context',
    {
      config: accountRoute({ systemUsers: true }),
      schema: {
        tags,
        summary: 'Who am I, where, and what may I do',
        response: answers({ 200: ContextView }),
      },
    },
    async (request) => {
      const { personId, sessionId, tenantId, platformAdmin, inCookies } = identityOf(request)
      const [person, session, tenants, chosen, csrfToken] = await Promise.all([
        findPerson(deps.db, personId),
        findSession(deps.db, sessionId),
        listMyTenants(deps.db, personId),
        tenantId === null ? undefined : findChosen(deps, { personId, tenantId, platformAdmin }),
        inCookies ? readCsrfToken(deps.db, deps.box, sessionId) : null,
      ])
      if (person === undefined || session === undefined) {
        throw new AppError('unauthenticated', 'The session has ended; sign in again.')
      }
      const place = chosen === undefined ? nowhere : await placeIn(deps, personId, chosen)
      const context = { user: toUserView(person), ...place, tenants: tenants.map(toTenantChoice), session }
      return csrfToken === null ? context : { ...context, csrfToken }
    },
  )
}

/** Signing up, signing in, and the session that follows. */
export const authRoutes = (app: App, deps: ControlDeps): void => {
  signUpRoute(app, deps)
  signInRoutes(app, deps)
  sessionRoutes(app, deps)
}
