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
