import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { spendSignIn } from '../../access/sign-in-codes.ts'
import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { callerOf } from '../../http/identity.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError, isAppError } from '../../kernel/errors.ts'
import type { Provider } from '../../oidc/provider.ts'
import { deliverTokens, endReplacedSession, wantedMode } from '../auth/deliver-tokens.ts'
import { addressLimits } from '../auth/limits.ts'
import { sessionAnswer } from '../auth/routes.ts'
import { ModeHeaders, SessionView } from '../auth/schemas.ts'
import { beginFlow, type Flow, flowCookie, type Purpose, readFlow } from './flow.ts'
import { linkCodeFor, openTicket } from './link.ts'
import type { ProviderDeps } from './provider-deps.ts'
import { auditFailedSignIn, recognise } from './recognise.ts'
import { readReturnTo } from './return-to.ts'
import { AuthConfigView, CallbackQuery, ExchangeBody, StartQuery } from './schemas.ts'
import { codeFor, exchange, signInAs } from './session.ts'

const tags = ['Account']

/** Said by /auth/config; a minute late is early enough. */
const configSeconds = 60

const purposeOf = (deps: ProviderDeps, provider: string, query: Static<typeof StartQuery>): Purpose => {
  const { returnTo, challenge, ticket, invitationToken = null, mode = 'bearer' } = query
  if (ticket !== undefined) return openTicket(deps, provider, ticket)
  if (challenge !== undefined && (returnTo === undefined || mode === 'cookie')) {
    throw new AppError(
      'validation_failed',
      'A challenge needs a returnTo, where the code goes, and no cookies.',
    )
  }
  const place = returnTo === undefined ? null : readReturnTo(returnTo, deps.publicUrl, deps.returnOrigins)
  return { provider, returnTo: place, mode, challenge: challenge ?? null, invitationToken, link: null }
}

/** What an app finds behind the `#`, where neither a log nor another site sees it. */
const returning = (returnTo: string, says: Record<string, string>): string =>
  `${returnTo}#${new URLSearchParams(says)}`

const unknownFlow = (): AppError =>
  new AppError(
    'unauthenticated',
    'This sign-in was not begun in this browser, was finished already, or took longer than ten minutes; begin again.',
  )

/** Proves who came back. Of all requests that bring the same sign-in, one gets past the first line. */
const prove = async (deps: ProviderDeps, provider: Provider, flow: Flow, request: FastifyRequest) => {
  if (!(await spendSignIn(deps.db, flow.state, new Date(flow.expiresAt)))) throw unknownFlow()
  const answer = new URL(callbackOf(deps, provider))
  answer.search = new URL(request.url, deps.publicUrl).search
  try {
    return await provider.finish(answer, flow)
  } catch (error) {
    request.log.warn({ err: error, provider: provider.name }, 'a sign-in with a provider failed')
    if (!isAppError(error, 'provider_unavailable')) await auditFailedSignIn(deps, null, callerOf(request))
    throw error
  }
}

const callbackOf = ({ publicUrl }: ProviderDeps, { name }: Provider): string =>
  `${publicUrl}/auth/${name}/callback`

const startRoute = (app: App, deps: ProviderDeps, provider: Provider): void => {
  const cookie = flowCookie(deps.publicUrl)
  app.get(
    `/auth/${provider.name}`,
    {
      ...deps.limitByAddress(addressLimits.providers),
      config: publicRoute('signing in is how one gets a session'),
      schema: {
        tags,
        summary: `Sign in with ${provider.label}`,
        description:
          'For browsers. Afterwards returnTo is called with #code= for POST /auth/exchange, with nothing when mode is cookie, or with #error=. Without returnTo the last answer is the session.',
        querystring: StartQuery,
        response: answers({ 302: NoContent }),
      },
    },
    async (request, reply) => {
      const { binding, cookie: value } = beginFlow(
        deps.travellers,
        purposeOf(deps, provider.name, request.query),
      )
      const page = await provider.begin(callbackOf(deps, provider), binding)
      cookie.give(reply, value)
      return reply.redirect(page.href, 302)
    },
  )
}

const callbackRoute = (app: App, deps: ProviderDeps, provider: Provider): void => {
  const cookie = flowCookie(deps.publicUrl)
  app.get(
    `/auth/${provider.name}/callback`,
    {
      ...deps.limitByAddress(addressLimits.providers),
      config: publicRoute('the provider sends the browser here; its answer is the proof'),
      schema: {
        tags,
        summary: `Come back from ${provider.label}`,
        querystring: CallbackQuery,
        response: answers({ 200: SessionView, 302: NoContent }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { state } = request.query
      const flow = readFlow(deps.travellers, cookie.read(request), { provider: provider.name, state })
      if (flow === undefined) throw unknownFlow()
      cookie.clear(reply)
      const { returnTo, link, challenge, mode } = flow
      const finish = async () => {
        const identity = await prove(deps, provider, flow, request)
        if (link !== null) return linkCodeFor(deps, link, identity)
        const identityId = await recognise(deps, provider, identity, caller, flow.invitationToken)
        if (returnTo === null || mode === 'cookie') return signInAs(deps, identityId, mode, caller)
        return codeFor(deps, identityId, challenge)
      }
      try {
        const result = await finish()
        if (typeof result === 'string')
          return reply.redirect(returning(returnTo ?? deps.publicUrl, { code: result }), 302)
        if (returnTo === null) return await sessionAnswer(deps, reply, result)
        await endReplacedSession(deps, request, result.issued)
        deliverTokens(deps, reply, result.issued)
        return reply.redirect(returnTo, 302)
      } catch (error) {
        if (returnTo === null || !isAppError(error)) throw error
        return reply.redirect(
          returning(returnTo, { error: error.code, error_description: error.message }),
          302,
        )
      }
    },
  )
}

const exchangeRoute = (app: App, deps: ProviderDeps): void => {
  app.post(
    '/auth/exchange',
    {
      ...deps.limitByAddress(addressLimits.signIn, 'failures'),
      config: publicRoute('the code from the sign-in is the proof'),
      schema: {
        tags,
        summary: 'Exchange the code of a sign-in for the session',
        description:
          'Once, within a minute. With the verifier exactly when the sign-in was begun with a challenge.',
        headers: ModeHeaders,
        body: ExchangeBody,
        response: answers({ 200: SessionView }),
      },
    },
    async (request, reply) => {
      const mode = wantedMode(deps, request)
      return sessionAnswer(deps, reply, await exchange(deps, { ...request.body, mode }, callerOf(request)))
    },
  )
}

const configRoute = (app: App, deps: ProviderDeps): void => {
  const { signUp, verifyEmail } = deps
  const providers = deps.providers.map(({ name, label }) => ({ name, label, url: `/auth/${name}` }))
  app.get(
    '/auth/config',
    {
      config: publicRoute('what a page for signing in must show, the same for everybody'),
      schema: {
        tags,
        summary: 'How one can sign in and up here',
        response: answers({ 200: AuthConfigView }),
      },
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${configSeconds}`)
      return { providers, signUp, verifyEmail }
    },
  )
}

/** Somebody who tries the documented address should learn what is missing. */
const missingGoogle = (app: App): void => {
  for (const path of ['/auth/google', '/auth/google/callback']) {
    app.get(
      path,
      {
        config: publicRoute('says only that it is not set up'),
        schema: { tags, summary: 'Sign in with Google: not set up here', response: answers({}) },
      },
      async () => {
        throw new AppError(
          'not_found',
          'Sign-in with Google is not set up here; the operator sets OIDC_GOOGLE_CLIENT_ID and OIDC_GOOGLE_CLIENT_SECRET.',
        )
      },
    )
  }
}

/** Signing in with other providers. */
export const providerRoutes = (app: App, deps: ProviderDeps): void => {
  for (const provider of deps.providers) {
    startRoute(app, deps, provider)
    callbackRoute(app, deps, provider)
  }
  if (!deps.providers.some(({ name }) => name === 'google')) missingGoogle(app)
  exchangeRoute(app, deps)
  configRoute(app, deps)
}
