import { accountRoute, memberRoute, publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf, memberScopeOf } from '../../http/guards.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { callerOf } from '../../http/identity.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { findMyTenant } from '../../master/memberships.ts'
import { findPerson, normalizeEmail } from '../../master/people.ts'
import { addressLimits } from '../auth/limits.ts'
import type { ControlDeps } from '../control-deps.ts'
import { masterKeys } from '../idempotency-keys.ts'
import { invitationsToOne, limitSubject, tenantLimits } from '../limits.ts'
import { toTenantChoice } from '../tenants/tenant-view.ts'
import { acceptInvitation, declineInvitation, viewInvitation } from './answer.ts'
import { cancelInvitation, invite, resendInvitation } from './flows.ts'
import { findInvitation, listInvitations, listInvitationsTo } from './queries.ts'
import {
  AcceptedInvitationView,
  AnswerParams,
  InvitationView,
  InviteBody,
  MyInvitationView,
  PublicInvitationView,
  TokenParams,
  toInvitationView,
  toMyView,
  toPublicView,
} from './schemas.ts'

const tags = ['Invitations']

const giveRoutes = (app: App, deps: ControlDeps): void => {
  const keys = masterKeys(deps)
  app.get(
    '/api/invitations',
    {
      config: memberRoute('tenant-api:invitation:read'),
      schema: {
        tags,
        summary: 'Invitations that nobody has answered',
        querystring: PageQuery,
        response: answers({ 200: Page(InvitationView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { tenantId } = memberScopeOf(request)
      const rows = await listInvitations(deps.db, tenantId, { limit, after: readCursor(cursor) })
      const { data, nextCursor } = toPage(rows, limit)
      return { data: data.map(toInvitationView), nextCursor }
    },
  )

  app.post(
    '/api/invitations',
    {
      config: memberRoute('tenant-api:invitation:create'),
      schema: {
        tags,
        summary: 'Invite an address to join this tenant',
        description: 'A mail with a link goes out. It is good for 7 days, once, and only for that address.',
        headers: IdempotencyHeaders,
        body: InviteBody,
        response: answers({ 201: InvitationView }),
      },
    },
    async (request, reply) => {
      const scope = memberScopeOf(request)
      const { body } = request
      const created = await createOnce(keys, keyedRequest(request, scope.tenantId), {
        before: async () => {
          await limitSubject(deps.limits, tenantLimits.invite, scope.tenantId)
          await limitSubject(deps.limits, invitationsToOne, normalizeEmail(body.email))
        },
        create: async (db) => {
          const invitation = await invite({ ...deps, db }, scope, body)
          return { status: 201 as const, body: toInvitationView(invitation) }
        },
      })
      reply.code(201).headers(createdHeaders(created))
      return created.answer.body
    },
  )

  app.delete(
    '/api/invitations/:id',
    {
      config: memberRoute('tenant-api:invitation:delete'),
      schema: {
        tags,
        summary: 'Take an invitation back',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await cancelInvitation(deps, memberScopeOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/api/invitations/:id/resend',
    {
      config: memberRoute('tenant-api:invitation:create'),
      schema: {
        tags,
        summary: 'Send an invitation again, with a new link',
        description: 'The old link is good for nothing from then on, and the 7 days begin anew.',
        params: IdParams,
        response: answers({ 200: InvitationView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      const { id } = request.params
      await limitSubject(deps.limits, tenantLimits.invite, scope.tenantId)
      const invitation = await findInvitation(deps.db, id)
      if (invitation?.tenant_id === scope.tenantId) {
        await limitSubject(deps.limits, invitationsToOne, invitation.email)
      }
      return toInvitationView(await resendInvitation(deps, scope, id))
    },
  )
}

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/invitations',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Invitations that wait for me',
        description: 'Those to my address, once I have proved that it is mine.',
        querystring: PageQuery,
        response: answers({ 200: Page(MyInvitationView) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const page = { limit, after: readCursor(cursor) }
      const person = await findPerson(deps.db, identityOf(request).personId)
      const proved = person !== undefined && person.email_verified_at !== null
      const rows = proved ? await listInvitationsTo(deps.db, person.email, page) : []
      const { data, nextCursor } = toPage(rows, limit)
      return { data: data.map(toMyView), nextCursor }
    },
  )

  app.get(
    '/invitations/:token',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: publicRoute('the token from the mail is the proof; it shows who invites to what'),
      schema: {
        tags,
        summary: 'What an invitation is to',
        params: TokenParams,
        response: answers({ 200: PublicInvitationView }),
      },
    },
    async (request) => toPublicView(await viewInvitation(deps.db, request.params.token)),
  )
}

const answerRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/invitations/:token/accept',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Accept an invitation to my address',
        params: AnswerParams,
        response: answers({ 200: AcceptedInvitationView }),
      },
    },
    async (request) => {
      const { personId } = identityOf(request)
      const tenantId = await acceptInvitation(deps, request.params.token, personId, callerOf(request))
      const tenant = await findMyTenant(deps.db, personId, tenantId)
      if (tenant === undefined) throw new Error('the accepted invitation made no member')
      return { tenant: toTenantChoice(tenant) }
    },
  )

  app.post(
    '/invitations/:token/decline',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Decline an invitation to my address',
        params: AnswerParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { personId } = identityOf(request)
      await declineInvitation(deps, request.params.token, personId, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

/** Asking people to join a tenant, and what they answer. */
export const invitationRoutes = (app: App, deps: ControlDeps): void => {
  giveRoutes(app, deps)
  readRoutes(app, deps)
  answerRoutes(app, deps)
}
