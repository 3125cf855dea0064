import { sql } from 'kysely'
import type { TenantDb } from '../tenant-scope.ts'

/** What there is in the tenant's database of what plans limit. */
export const readCounts = async (
  db: TenantDb,
): Promise<{ projects: number; connections: number; jobsToday: number | null }> => {
  const row = await db
    .selectFrom('projects')
    .select(sql<number>`count(*)::int`.as('projects'))
    .select(
      sql<number>`(select count(*)::int from pg_stat_activity where usename = current_user)`.as(
        'connections',
      ),
    )
    .executeTakeFirstOrThrow()
  return { ...row, jobsToday: null }
}
