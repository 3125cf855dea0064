import type { TSchema } from 'typebox'
import { patternsOfRoles } from '../../access/granting.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterDb } from '../../master/master.ts'
import type { ControlDeps } from '../control-deps.ts'
import { type AccessChange, changeAccess } from './changes.ts'
import type { Surface } from './editor.ts'
import { deleteNamed, findNamed, findOwn, type Kind, listNamed, type Named, updateNamed } from './queries.ts'
import { PatchBody } from './schemas.ts'

/** What differs between roles and policies in the routes that both have. */
export type Thing = {
  readonly kind: Kind
  readonly plural: 'roles' | 'policies'
  readonly View: TSchema
  readonly toViews: (
    db: MasterDb,
    tenantId: string | null,
    rows: readonly Named[],
  ) => Promise<{ id: string }[]>
  /** Says why it can't be deleted, or nothing. */
  readonly inUse: (change: AccessChange, row: Named) => Promise<string | undefined>
}

export type Deps = Pick<ControlDeps, 'db' | 'grants'>

/** One of `rows`, as it is sent. */
export const viewOf = async (
  { toViews }: Thing,
  db: MasterDb,
  tenantId: string | null,
  row: Named,
): Promise<{ id: string }> => {
  const [view] = await toViews(db, tenantId, [row])
  if (view === undefined) throw new Error('one row gave no view')
  return view
}

const readRoutes = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface, thing: Thing) => {
  const { kind, plural, View, toViews } = thing
  const config = rule(`tenant-api:${kind}:read`)
  app.get(
    `${base}/${plural}`,
    {
      config,
      schema: {
        tags,
        summary: `List ${plural}: the system-wide ones${base === '/api' ? " and the tenant's own" : ''}`,
        querystring: PageQuery,
        response: answers({ 200: Page(View) }),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { tenantId } = editorOf(request)
      const rows = await listNamed(deps.db, kind, tenantId, { limit, after: readCursor(cursor) })
      const page = toPage(rows, limit)
      return { data: await toViews(deps.db, tenantId, page.data), nextCursor: page.nextCursor }
    },
  )
  app.get(
    `${base}/${plural}/:id`,
    {
      config,
      schema: { tags, summary: `Get a ${kind}`, params: IdParams, response: answers({ 200: View }) },
    },
    async (request) => {
      const { tenantId } = editorOf(request)
      return viewOf(thing, deps.db, tenantId, await findNamed(deps.db, kind, tenantId, request.params.id))
    },
  )
}

const writeRoutes = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface, thing: Thing) => {
  const { kind, plural, View, inUse } = thing
  const url = `${base}/${plural}/:id`
  app.patch(
    url,
    {
      config: rule(`tenant-api:${kind}:update`),
      schema: {
        tags,
        summary: `Rename or describe a ${kind}`,
        params: IdParams,
        body: PatchBody,
        response: answers({ 200: View }),
      },
    },
    async (request) =>
      changeAccess(deps, editorOf(request), async (change) => {
        const { id } = await findOwn(change, kind, request.params.id)
        // Roles are given by name: under another name somebody would give what they do not mean.
        if (kind === 'role' && request.body.name !== undefined)
          change.mustHold(await patternsOfRoles(change.trx, [id]))
        const row = await updateNamed(change, kind, id, request.body)
        await change.audit(`${kind}.updated`, { type: kind, id }, { name: row.name })
        return viewOf(thing, change.trx, change.tenantId, row)
      }),
  )
  app.delete(
    url,
    {
      config: rule(`tenant-api:${kind}:delete`),
      schema: {
        tags,
        summary: `Delete a ${kind} that is not in use`,
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await changeAccess(deps, editorOf(request), async (change) => {
        const row = await findOwn(change, kind, request.params.id)
        const reason = await inUse(change, row)
        if (reason !== undefined) throw new AppError('conflict', reason)
        await deleteNamed(change.trx, kind, row.id)
        await change.audit(`${kind}.deleted`, { type: kind, id: row.id }, { name: row.name })
      })
      return reply.code(204).send(null)
    },
  )
}

/** List, get, change and delete, for what has a name and belongs to a tenant or to all. */
export const namedRoutes = (app: App, deps: Deps, surface: Surface, thing: Thing): void => {
  readRoutes(app, deps, surface, thing)
  writeRoutes(app, deps, surface, thing)
}
