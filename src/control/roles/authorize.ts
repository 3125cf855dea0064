import { type Static, Type } from 'typebox'
import { memberRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { type MemberScope, memberScopeOf } from '../../http/guards.ts'
import { answers, Body } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterDb } from '../../master/master.ts'
import type { Deps } from './named-routes.ts'
import { OnePermission } from './schemas.ts'

const CheckBody = Body({
  permission: OnePermission(),
  userId: Type.Optional(
    Type.String({ format: 'uuid', description: 'A member of the tenant; who asks, when left out' }),
  ),
})
const BatchBody = Body({ checks: Type.Array(CheckBody, { minItems: 1, maxItems: 100 }) })
const AnswerView = Type.Object(
  { allowed: Type.Boolean(), reason: Type.String({ description: 'For people' }) },
  { title: 'Authorization' },
)
const AnswersView = Type.Object({
  results: Type.Array(AnswerView, { description: 'In the order of the checks' }),
})

type Check = Static<typeof CheckBody>
type Answer = Static<typeof AnswerView>

const isMember = async (db: MasterDb, tenantId: string, personId: string): Promise<boolean> =>
  (await db
    .selectFrom('memberships')
    .select('status')
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .executeTakeFirst()) !== undefined

/** What the guard of a route would say. Throws for others' permissions without `member:read`, and for who is no member. */
const authorize = async (deps: Deps, scope: MemberScope, check: Check): Promise<Answer> => {
  const { permission, userId = scope.personId } = check
  const own = userId === scope.personId
  if (!own && !scope.grant.permissions.has('tenant-api:member:read')) {
    throw new AppError('forbidden', 'To ask about others your role needs tenant-api:member:read.')
  }
  const grant = own ? scope.grant : await deps.grants.grant(scope.tenantId, userId)
  if (grant === undefined) {
    if (await isMember(deps.db, scope.tenantId, userId)) {
      return { allowed: false, reason: 'The membership is not active.' }
    }
    throw new AppError('not_found', 'This tenant has no member with this id.')
  }
  const allowed = grant.permissions.has(permission)
  return { allowed, reason: `The role ${grant.role} ${allowed ? 'has' : 'does not have'} ${permission}.` }
}

/** May somebody do something? Answered from memory, as the routes' own guards answer it. */
export const authorizeRoutes = (app: App, deps: Deps): void => {
  const config = memberRoute('any member')
  const tags = ['Roles']
  app.post(
    '/api/authorize',
    {
      config,
      schema: {
        tags,
        summary: 'Ask whether I, or another member, may do something',
        body: CheckBody,
        response: answers({ 200: AnswerView }),
      },
    },
    async (request) => authorize(deps, memberScopeOf(request), request.body),
  )
  app.post(
    '/api/authorize/batch',
    {
      config,
      schema: {
        tags,
        summary: 'Ask up to 100 such questions at once',
        body: BatchBody,
        response: answers({ 200: AnswersView }),
      },
    },
    async (request) => {
      const scope = memberScopeOf(request)
      return { results: await Promise.all(request.body.checks.map((check) => authorize(deps, scope, check))) }
    },
  )
}
