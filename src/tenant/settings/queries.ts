import { sql } from 'kysely'
import { writeAudit } from '../audit-log.ts'
import type { TenantDb } from '../tenant-scope.ts'

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The tenant's own settings and metadata. Throws when its database holds anything but objects there. */
export const readSettings = async (
  db: TenantDb,
): Promise<{ settings: Record<string, unknown>; metadata: Record<string, unknown> }> => {
  const row = await db.selectFrom('settings').select(['settings', 'metadata']).executeTakeFirstOrThrow()
  if (!isObject(row.settings) || !isObject(row.metadata)) throw new Error('the settings are no objects')
  return row
}

/** Replaces what is given, settings or metadata as a whole, and writes the audit entry. Doing it again ends in the same. */
export const writeSettings = (
  db: TenantDb,
  who: Parameters<typeof writeAudit>[1] & { tenantId: string },
  change: { settings?: Record<string, unknown>; metadata?: Record<string, unknown> },
): Promise<void> =>
  db.transaction().execute(async (trx) => {
    const before = await trx
      .selectFrom('settings')
      .select(['settings', 'metadata'])
      .forUpdate()
      .executeTakeFirstOrThrow()
    await trx
      .updateTable('settings')
      .set({
        ...change,
        updated_at: sql<Date>`now()`,
      })
      .execute()
    const entity = { type: 'tenant', id: who.tenantId }
    await writeAudit(trx, who, 'tenant.settings_updated', entity, { before, after: { ...before, ...change } })
  })
