import type { TenantDb } from '../tenant-scope.ts'

/** The tenant's own settings and metadata. */
export const readSettings = (
  db: TenantDb,
): Promise<{ settings: Record<string, unknown>; metadata: Record<string, unknown> }> =>
  db.selectFrom('settings').select(['settings', 'metadata']).executeTakeFirstOrThrow()
