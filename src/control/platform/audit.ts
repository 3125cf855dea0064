import { type Static, Type } from 'typebox'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import { readTime } from '../../http/times.ts'
import type { MasterDb } from '../../master/master.ts'
import type { ControlDeps } from '../control-deps.ts'

const AuditQuery = Type.Object({
  ...PageQuery.properties,
  action: Type.Optional(Line({ maxLength: 100, description: 'Such as person.disabled' })),
  actorId: Type.Optional(Id()),
  entityType: Type.Optional(Line({ maxLength: 100 })),
  entityId: Type.Optional(Line({ maxLength: 100 })),
  tenantId: Type.Optional(Id()),
  from: Type.Optional(Time()),
  to: Type.Optional({ ...Time(), description: 'Until then, itself left out' }),
})
type AuditFilter = Omit<Static<typeof AuditQuery>, 'limit' | 'cursor'>

const AuditView = Type.Object(
  {
    id: Id(),
    at: Time(),
    actorKind: Type.String(),
    actorId: Nullable(Id()),
    action: Type.String(),
    entityType: Type.String(),
    entityId: Nullable(Type.String()),
    tenantId: Nullable(Id()),
    details: Nullable(Type.Record(Type.String(), Type.Unknown())),
    address: Nullable(Type.String()),
    userAgent: Nullable(Type.String()),
    requestId: Nullable(Type.String()),
  },
  { title: 'PlatformAuditEntry' },
)

/** The master's audit log, newest first, and one more than `limit` when there are more. */
const listEntries = (
  db: MasterDb,
  { limit, after }: { limit: number; after: string | undefined },
  { action, actorId, entityType, entityId, tenantId, from, to }: AuditFilter,
) => {
  let query = db.selectFrom('audit_log').selectAll()
  if (action !== undefined) query = query.where('action', '=', action)
  if (actorId !== undefined) query = query.where('actor_id', '=', actorId)
  if (entityType !== undefined) query = query.where('entity_type', '=', entityType)
  if (entityId !== undefined) query = query.where('entity_id', '=', entityId)
  if (tenantId !== undefined) query = query.where('tenant_id', '=', tenantId)
  if (from !== undefined) query = query.where('at', '>=', readTime(from, 'from'))
  if (to !== undefined) query = query.where('at', '<', readTime(to, 'to'))
  if (after !== undefined) query = query.where('id', '<', after)
  return query
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute()
}

type Entry = Awaited<ReturnType<typeof listEntries>>[number]

const toView = (row: Entry): Static<typeof AuditView> => ({
  id: row.id,
  at: row.at.toISOString(),
  actorKind: row.actor_kind,
  actorId: row.actor_id,
  action: row.action,
  entityType: row.entity_type,
  entityId: row.entity_id,
  tenantId: row.tenant_id,
  details: row.details,
  address: row.address,
  userAgent: row.user_agent,
  requestId: row.request_id,
})

/** What happened to accounts and to the installation; what happened in a tenant is in its own database. */
export const platformAuditRoute = (app: App, deps: Pick<ControlDeps, 'db'>): void => {
  app.get(
    '/platform/audit',
    {
      config: platformRoute(),
      schema: {
        tags: ['Platform'],
        summary: 'What happened to accounts and to the installation, newest first',
        querystring: AuditQuery,
        response: answers({ 200: Page(AuditView) }),
      },
    },
    async ({ query: { limit, cursor, ...filter } }) => {
      const page = toPage(await listEntries(deps.db, { limit, after: readCursor(cursor) }, filter), limit)
      return { data: page.data.map(toView), nextCursor: page.nextCursor }
    },
  )
}
