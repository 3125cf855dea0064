import type { FastifyReply, FastifyRequest } from 'fastify'
import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answerWithTag, IfMatch, IfNoneMatch, mustMatch } from '../../http/entity-tags.ts'
import { createdHeaders, createOnce, IdempotencyHeaders, keyedRequest } from '../../http/idempotency.ts'
import { Page } from '../../http/paging.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantKeys } from '../idempotency-keys.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from './asking-user.ts'
import {
  countUsers,
  deleteUser,
  findUser,
  insertUser,
  listUsers,
  lockUser,
  type UserRow,
  updateUser,
} from './queries.ts'
import {
  PatchUserBody,
  toUserView,
  UserBody,
  UserCount,
  UserCountQuery,
  UserIdParams,
  UserQuery,
  UserView,
} from './schemas.ts'

const tags = ['Users']

const present = (user: UserRow | undefined): UserRow => {
  if (user === undefined)
    throw new AppError('not_found', 'Nobody with this id is in the directory of this tenant.')
  return user
}

/** Where the truth about people with an account is kept. */
const keptAt: Record<UserRow['kind'], string> = {
  added: 'here',
  member: 'in their account: they change their name with PATCH /auth/me',
  system: 'with the system user: PATCH /api/system-users/:id',
  operator: 'with whoever operates this installation',
}

/** Only people without an account are changed here: throws `conflict`, saying where. */
const mustBeOurs = ({ kind }: UserRow): void => {
  if (kind === 'added') return
  throw new AppError('conflict', `Their name and address are kept ${keptAt[kind]}.`)
}

/** Throws `conflict`, saying how to go on, for somebody who would only come back. */
const mustBeGone = ({ kind, status }: UserRow): void => {
  if (kind === 'added' || status === 'removed') return
  const first = {
    member: 'They are a member: take them out with DELETE /api/members/:userId first.',
    system: 'It is a system user: remove it with DELETE /api/system-users/:id first.',
    operator: 'An operator of the installation stays in the directory.',
  }
  throw new AppError('conflict', first[kind])
}

const readRoutes = (app: App): void => {
  const config = tenantRoute('tenant-api:user:read')
  app.get(
    '/api/users',
    {
      config,
      schema: {
        tags,
        summary: 'The directory of people: members, and those who were added without an account',
        querystring: UserQuery,
        response: answers({ 200: Page(UserView) }),
      },
    },
    async (request) => {
      const { data, nextCursor } = await listUsers(tenantOf(request).db, request.query, request.query)
      return { data: data.map(toUserView), nextCursor }
    },
  )

  app.get(
    '/api/users/count',
    {
      config,
      schema: {
        tags,
        summary: 'How many people the same filters let through',
        querystring: UserCountQuery,
        response: answers({ 200: UserCount }),
      },
    },
    async (request) => ({ count: await countUsers(tenantOf(request).db, request.query) }),
  )

  app.get(
    '/api/users/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Get a person',
        params: UserIdParams,
        headers: IfNoneMatch,
        response: answers({ 200: UserView, 304: NoContent }),
      },
    },
    async (request, reply) => {
      const user = present(await findUser(tenantOf(request).db, request.params.id))
      return answerWithTag(request, reply, toUserView(user))
    },
  )
}

type Change = Parameters<typeof updateUser>[2]

/** Changes somebody without an account, for whoever has seen them as they are. */
const change = async (request: FastifyRequest, reply: FastifyReply, id: string, change: Change) => {
  const scope = tenantOf(request)
  const user = await scope.db.transaction().execute(async (trx) => {
    const row = present(await lockUser(trx, id))
    const before = toUserView(row)
    mustMatch(request, before)
    mustBeOurs(row)
    const after = toUserView(await updateUser(trx, row.id, change))
    await writeAudit(trx, scope, 'user.updated', { type: 'user', id: row.id }, { before, after })
    return after
  })
  return answerWithTag(request, reply, user)
}

const changeRoutes = (app: App): void => {
  const config = tenantRoute('tenant-api:user:update')
  const schema = {
    tags,
    description:
      'For people without an account; what is said of members is kept in their accounts (409 `conflict`).',
    params: UserIdParams,
    headers: IfMatch,
    response: answers({ 200: UserView }),
  }
  app.put(
    '/api/users/:id',
    { config, schema: { ...schema, summary: 'Replace what is said of a person', body: UserBody } },
    async (request, reply) => {
      const { email, firstName, lastName = null } = request.body
      return change(request, reply, request.params.id, { email, first_name: firstName, last_name: lastName })
    },
  )

  app.patch(
    '/api/users/:id',
    { config, schema: { ...schema, summary: 'Change a person', body: PatchUserBody } },
    async (request, reply) => {
      const { email, firstName, lastName } = request.body
      return change(request, reply, request.params.id, {
        ...(email === undefined ? {} : { email }),
        ...(firstName === undefined ? {} : { first_name: firstName }),
        ...(lastName === undefined ? {} : { last_name: lastName }),
      })
    },
  )
}

const writeRoutes = (app: App): void => {
  app.post(
    '/api/users',
    {
      config: tenantRoute('tenant-api:user:create'),
      schema: {
        tags,
        summary: 'Add a person without an account',
        description: 'When somebody with this address becomes a member, it is the same person.',
        headers: IdempotencyHeaders,
        body: UserBody,
        response: answers({ 201: UserView }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const { email, firstName, lastName = null } = request.body
      const created = await createOnce(tenantKeys(scope.db), keyedRequest(request, scope.tenantId), {
        create: async (trx) => {
          const created_by = await askingUser(trx, scope)
          const user = await insertUser(trx, {
            email,
            first_name: firstName,
            last_name: lastName,
            created_by,
          })
          const body = toUserView(user)
          await writeAudit(trx, scope, 'user.created', { type: 'user', id: user.id }, { after: body })
          return { status: 201 as const, location: `/api/users/${user.id}`, body }
        },
      })
      reply.code(201).headers(createdHeaders(created))
      return answerWithTag(request, reply, created.answer.body)
    },
  )

  app.delete(
    '/api/users/:id',
    {
      config: tenantRoute('tenant-api:user:delete'),
      schema: {
        tags,
        summary: 'Take a person out of the directory',
        description:
          'People without an account, and those who are no longer members. What they have made stays, with createdBy null.',
        params: UserIdParams,
        headers: IfMatch,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      await scope.db.transaction().execute(async (trx) => {
        const user = present(await lockUser(trx, request.params.id))
        const before = toUserView(user)
        mustMatch(request, before)
        mustBeGone(user)
        await deleteUser(trx, user.id)
        await writeAudit(trx, scope, 'user.deleted', { type: 'user', id: user.id }, { before })
      })
      return reply.code(204).send(null)
    },
  )
}

/** The directory of people of one tenant, in that tenant's database. */
export const userRoutes = (app: App): void => {
  readRoutes(app)
  changeRoutes(app)
  writeRoutes(app)
}
