import { accountRoute, publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { addressLimits } from '../auth/limits.ts'
import { beginLink, confirmIdentity, finishLink, removeIdentity } from './link.ts'
import type { ProviderDeps } from './provider-deps.ts'
import { listIdentities } from './queries.ts'
import {
  BeginLinkBody,
  BegunView,
  ConfirmBody,
  ConfirmedView,
  FinishLinkBody,
  IdentityView,
  toIdentityView,
} from './schemas.ts'

const tags = ['Account']

const linkRoutes = (app: App, deps: ProviderDeps): void => {
  app.post(
    '/auth/identities',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Begin to connect a provider to my account',
        description:
          'Send the browser to url; returnTo is then called with #code= for POST /auth/identities/link.',
        body: BeginLinkBody,
        response: answers({ 200: BegunView }),
      },
    },
    async (request) => beginLink(deps, identityOf(request), request.body),
  )

  app.post(
    '/auth/identities/link',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Connect it',
        description: 'Within a minute, by the session that began.',
        body: FinishLinkBody,
        response: answers({ 200: IdentityView }),
      },
    },
    async (request) =>
      toIdentityView(
        await finishLink(deps, identityOf(request), request.body.code, callerOf(request)),
        deps.providers,
      ),
  )

  app.post(
    '/auth/identities/confirm',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: publicRoute('the token from the mail is the proof'),
      schema: {
        tags,
        summary: 'Connect a provider by a link in a mail',
        description:
          'An account whose address was never proved loses its password, its sessions and its other identities.',
        body: ConfirmBody,
        response: answers({ 200: ConfirmedView }),
      },
    },
    async (request) => ({
      ...(await confirmIdentity(deps, request.body.token, callerOf(request))),
      next: 'sign_in' as const,
    }),
  )
}

/** A person's identities at other providers. */
export const identityRoutes = (app: App, deps: ProviderDeps): void => {
  app.get(
    '/auth/identities',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'The providers I can sign in with',
        querystring: PageQuery,
        response: answers({ 200: Page(IdentityView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const page = { limit, after: readCursor(cursor) }
      const rows = await listIdentities(deps.db, identityOf(request).personId, page)
      const { data, nextCursor } = toPage(rows, limit)
      return { data: data.map((row) => toIdentityView(row, deps.providers)), nextCursor }
    },
  )

  app.delete(
    '/auth/identities/:id',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Disconnect a provider from my account',
        description: 'Never the last way to sign in.',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await removeIdentity(deps, identityOf(request).personId, request.params.id, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  linkRoutes(app, deps)
}
