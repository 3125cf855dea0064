import { sql } from 'kysely'
import { firstIdToday } from '../plan-limits.ts'
import type { TenantDb } from '../tenant-scope.ts'

/** What there is in the tenant's database of what plans limit. */
export const readCounts = (
  db: TenantDb,
): Promise<{ projects: number; jobsToday: number; connections: number }> =>
  db
    .selectNoFrom((eb) => [
      eb.selectFrom('projects').select(sql<number>`count(*)::int`.as('n')).$asScalar().as('projects'),
      eb
        .selectFrom('jobs')
        .select(sql<number>`count(*)::int`.as('n'))
        .where('id', '>=', firstIdToday())
        .$asScalar()
        .as('jobsToday'),
      sql<number>`(select count(*)::int from pg_stat_activity where usename = current_user)`.as(
        'connections',
      ),
    ])
    .executeTakeFirstOrThrow()
