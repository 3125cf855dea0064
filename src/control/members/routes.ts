import { memberRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { memberScopeOf } from '../../http/guards.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import type { ControlDeps } from '../control-deps.ts'
import { masterKeys } from '../idempotency-keys.ts'
import { limitSubject, tenantLimits } from '../limits.ts'
import { addMember, changeMember, nobody, removeMember } from './flows.ts'
import { findMember, listMembers } from './queries.ts'
import { AddBody, ChangeBody, MemberParams, MemberQuery, MemberView, toMemberView } from './schemas.ts'

const tags = ['Members']

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/api/members',
    {
      config: memberRoute('tenant-api:member:read'),
      schema: {
        tags,
        summary: 'The people in this tenant',
        querystring: MemberQuery,
        response: answers({ 200: Page(MemberView) }),
      },
    },
    async (request) => {
      const { limit, cursor, q, status } = request.query
      const { tenantId } = memberScopeOf(request)
      const page = { limit, after: readCursor(cursor) }
      const { data, nextCursor } = toPage(await listMembers(deps.db, tenantId, { q, status }, page), limit)
      return { data: data.map(toMemberView), nextCursor }
    },
  )

  app.get(
    '/api/members/:userId',
    {
      config: memberRoute('tenant-api:member:read'),
      schema: { tags, summary: 'One member', params: MemberParams, response: answers({ 200: MemberView }) },
    },
    async (request) => {
      const member = await findMember(deps.db, memberScopeOf(request).tenantId, request.params.userId)
      if (member === undefined) throw nobody()
      return toMemberView(member)
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  const keys = masterKeys(deps)
  app.post(
    '/api/members',
    {
      config: memberRoute('tenant-api:member:create'),
      schema: {
        tags,
        summary: 'Add a person who has an account',
        description: 'For everybody else there are invitations.',
        headers: IdempotencyHeaders,
        body: AddBody,
        response: answers({ 201: MemberView }),
      },
    },
    async (request, reply) => {
      const scope = memberScopeOf(request)
      const { tenantId } = scope
      const created = await createOnce(keys, keyedRequest(request, tenantId), {
        // Whoever adds members learns which addresses have accounts: not of thousands.
        before: () => limitSubject(deps.limits, tenantLimits.addMembers, tenantId),
        create: async (db) => {
          const member = await addMember({ ...deps, db }, scope, request.body)
          const location = `/api/members/${member.id}`
          return { status: 201 as const, location, body: toMemberView(member) }
        },
      })
      // Only now: what is looked up again must find what was committed.
      deps.grants.forget(`membership:${tenantId}:${created.answer.body.userId}`)
      reply.code(201).headers(createdHeaders(created))
      return created.answer.body
    },
  )

  app.patch(
    '/api/members/:userId',
    {
      config: memberRoute('tenant-api:member:update'),
      schema: {
        tags,
        summary: "Change a member's role or status",
        params: MemberParams,
        body: ChangeBody,
        response: answers({ 200: MemberView }),
      },
    },
    async (request) =>
      toMemberView(await changeMember(deps, memberScopeOf(request), request.params.userId, request.body)),
  )

  app.delete(
    '/api/members/:userId',
    {
      config: memberRoute('tenant-api:member:delete'),
      schema: {
        tags,
        summary: 'Take a member out of the tenant',
        params: MemberParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await removeMember(deps, memberScopeOf(request), request.params.userId)
      return reply.code(204).send(null)
    },
  )
}

/** The people in a tenant, as its other members see and change them. */
export const memberRoutes = (app: App, deps: ControlDeps): void => {
  readRoutes(app, deps)
  changeRoutes(app, deps)
}
