import { Readable } from 'node:stream'
import { CompiledQuery } from 'kysely'
import { type Static, Type } from 'typebox'
import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, readCursor, toPage } from '../../http/paging.ts'
import { answers } from '../../http/schemas.ts'
import { type Anchor, type Ask, verifyChain } from '../../kernel/audit-chain.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantOf } from '../tenant-scope.ts'
import { listEntries, streamEntries } from './queries.ts'
import { AuditEntryView, AuditFilters, AuditQuery, CheckpointView, VerifiedView } from './schemas.ts'

const tags = ['Audit']

/** What is known of a tenant's chain outside of its database. */
export type AuditDeps = {
  findSeal: (tenantId: string) => Promise<{
    anchor: Anchor
    checkpoint: Static<typeof CheckpointView> | undefined
  }>
}

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

const verifyRoute = (app: App, { findSeal }: AuditDeps): void => {
  app.get(
    '/api/audit/verify',
    {
      config: tenantRoute('tenant-api:audit:read'),
      schema: {
        tags,
        summary: 'Prove the audit log',
        description:
          'Computes every hash again and compares the chain with the head that was signed. What is not sealed yet is not covered.',
        response: answers({ 200: VerifiedView }),
      },
    },
    async (request) => {
      const scope = tenantOf(request)
      const ask: Ask = async (text, values) =>
        (await scope.db.executeQuery(CompiledQuery.raw(text, [...values]))).rows
      const goOn = (): void => {
        if (request.raw.destroyed) throw new Error('the client has left')
      }
      let checkpoint: Static<typeof CheckpointView> | null = null
      const findAnchor = async (): Promise<Anchor> => {
        const seal = await findSeal(scope.tenantId)
        checkpoint = seal.checkpoint ?? null
        return seal.anchor
      }
      const report = await verifyChain(ask, findAnchor, goOn)
      await auditReading(scope, 'audit.verified', { ok: report.ok })
      return { ...report, checkpoint }
    },
  )
}

const checkpointRoute = (app: App, { findSeal }: AuditDeps): void => {
  app.get(
    '/api/audit/checkpoint',
    {
      config: tenantRoute('tenant-api:audit:read'),
      schema: {
        tags,
        summary: 'The signed head of the audit log',
        description:
          'Keep it where nobody else can change it: docs/verify-audit-log.ts compares an export with it. The keys are at /.well-known/audit-keys.json.',
        response: answers({ 200: CheckpointView }),
      },
    },
    async (request) => {
      const { checkpoint } = await findSeal(tenantOf(request).tenantId)
      if (checkpoint !== undefined) return checkpoint
      throw new AppError('not_found', 'Nothing is sealed yet; try again in some seconds.')
    },
  )
}

/** A tenant's audit log, in its own database. */
export const auditRoutes = (app: App, deps: AuditDeps): void => {
  listRoute(app)
  exportRoute(app)
  verifyRoute(app, deps)
  checkpointRoute(app, deps)
}
