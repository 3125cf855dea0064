import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers } from '../../http/schemas.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantOf } from '../tenant-scope.ts'
import { listEntries, streamEntries } from './queries.ts'
import { AuditEntryView, AuditFilters, AuditQuery } from './schemas.ts'

const tags = ['Audit']

type Scope = ReturnType<typeof tenantOf>

/** Who looks into the log is in it too, with what they looked for. */
const auditReading = (scope: Scope, action: string, details: Record<string, unknown>): Promise<void> =>
  scope.db
    .transaction()
    .execute((trx) => writeAudit(trx, scope, action, { type: 'tenant', id: scope.tenantId }, { details }))

const listRoute = (app: App): void => {
  app.get(
    '/api/audit',
    {
      config: tenantRoute('tenant-api:audit:read'),
      schema: {
        tags,
        summary: 'The audit log, newest first',
        description: 'Reading it is an entry too.',
        querystring: AuditQuery,
        response: answers({ 200: Page(AuditEntryView) }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const { limit, cursor, ...filter } = request.query
      const page = toPage(await listEntries(scope.db, { limit, after: readCursor(cursor) }, filter), limit)
      await auditReading(scope, 'audit.read', filter)
      return page
    },
  )
}

async function* toLines(entries: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const entry of entries) yield `${JSON.stringify(entry)}\n`
}

const exportRoute = (app: App): void => {
  app.get(
    '/api/audit/export',
    {
      config: tenantRoute('tenant-api:audit:export'),
      schema: {
        tags,
        summary: 'The audit log as NDJSON',
        description: 'One entry a line: those that are sealed in the order of the chain, then the others.',
        querystring: AuditFilters,
        produces: ['application/x-ndjson'],
        response: answers({ 200: Type.String() }),
      },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const filter = request.query
      const entries = streamEntries(scope.db, filter)
      await auditReading(scope, 'audit.exported', filter)
      reply.type('application/x-ndjson').header('content-disposition', 'attachment; filename="audit.ndjson"')
      return Readable.from(toLines(entries))
    },
  )
}

/** A tenant's audit log, in its own database. */
export const auditRoutes = (app: App): void => {
  listRoute(app)
  exportRoute(app)
}
