import { endSessionsOf } from '../../access/end-session.ts'
import { createSystemUser, revokeOldSystemSecrets, rotateSystemSecret } from '../../access/system-users.ts'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { findSystemUser, listSystemUsers } from '../../master/system-users.ts'
import type { ControlDeps } from '../control-deps.ts'
import { audit, changeAudited, nothing } from './change-audited.ts'
import { membershipRoutes } from './membership-routes.ts'
import { changeSystemUser } from './queries.ts'
import {
  CreateBody,
  NewSecretView,
  PatchBody,
  RevokedView,
  RotateBody,
  SystemUserView,
  toSystemUserView,
} from './schemas.ts'

const tags = ['Platform']
const base = '/platform/system-users'
const config = platformRoute()

const view = async (deps: ControlDeps, id: string) => {
  const found = await findSystemUser(deps.db, id)
  if (found === undefined) throw nothing()
  return toSystemUserView(found)
}

const readRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'All system users',
        querystring: PageQuery,
        response: answers({ 200: Page(SystemUserView) }),
      },
    },
    async ({ query: { limit, cursor } }) => {
      const page = toPage(await listSystemUsers(deps.db, { limit, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toSystemUserView), nextCursor: page.nextCursor }
    },
  )
  app.get(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'One system user',
        params: IdParams,
        response: answers({ 200: SystemUserView }),
      },
    },
    async ({ params }) => view(deps, params.id),
  )
}

const createRoute = (app: App, deps: ControlDeps): void => {
  app.post(
    base,
    {
      config,
      schema: {
        tags,
        summary: 'Create a system user',
        description: 'Its secret is shown in this answer and never again.',
        body: CreateBody,
        response: answers({ 201: NewSecretView }),
      },
    },
    async (request, reply) => {
      const { name, email, serviceType, metadata } = request.body
      const made = await deps.db.transaction().execute(async (trx) => {
        const added = await createSystemUser(trx, { name, email, serviceType, metadata, tenantId: null })
        await audit(trx, request, 'created', { id: added.id, tenantId: null })
        return added
      })
      reply.code(201)
      return { ...(await view(deps, made.id)), clientSecret: made.clientSecret }
    },
  )
}

const changeRoutes = (app: App, deps: ControlDeps): void => {
  app.patch(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Change, disable or enable a system user',
        params: IdParams,
        body: PatchBody,
        response: answers({ 200: SystemUserView }),
      },
    },
    async (request) => {
      const { id } = request.params
      await changeAudited(deps, request, { action: 'updated', id }, async (trx) => {
        if (!(await changeSystemUser(trx, id, request.body))) return undefined
        if (request.body.disabled === true) await endSessionsOf(trx, id, 'disabled')
        return true
      })
      return view(deps, id)
    },
  )
  app.delete(
    `${base}/:id`,
    {
      config,
      schema: {
        tags,
        summary: 'Delete a system user',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      await changeAudited(deps, request, { action: 'deleted', id }, async (trx) => {
        const { numDeletedRows } = await trx
          .deleteFrom('people')
          .where('id', '=', id)
          .where('kind', '=', 'system')
          .executeTakeFirst()
        return numDeletedRows > 0n ? true : undefined
      })
      return reply.code(204).send(null)
    },
  )
}

const secretRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    `${base}/:id/rotate`,
    {
      config,
      schema: {
        tags,
        summary: 'Give a system user a new secret',
        description: 'Until the grace is over the old one works too.',
        params: IdParams,
        body: RotateBody,
        response: answers({ 200: NewSecretView }),
      },
    },
    async (request) => {
      const { id } = request.params
      const clientSecret = await changeAudited(deps, request, { action: 'secret_rotated', id }, (trx) =>
        rotateSystemSecret(trx, id, request.body.graceDays),
      )
      return { ...(await view(deps, id)), clientSecret }
    },
  )
  app.post(
    `${base}/:id/revoke-old`,
    {
      config,
      schema: {
        tags,
        summary: 'End the grace of old secrets now',
        params: IdParams,
        response: answers({ 200: RevokedView }),
      },
    },
    async (request) => {
      const { id } = request.params
      const revoked = await changeAudited(
        deps,
        request,
        { action: 'old_secrets_revoked', id },
        async (trx) =>
          (await findSystemUser(trx, id)) === undefined ? undefined : revokeOldSystemSecrets(trx, id),
      )
      return { revoked }
    },
  )
}

/** Service accounts, as platform admins keep them. */
export const systemUserRoutes = (app: App, deps: ControlDeps): void => {
  readRoutes(app, deps)
  createRoute(app, deps)
  changeRoutes(app, deps)
  secretRoutes(app, deps)
  membershipRoutes(app, deps)
}
