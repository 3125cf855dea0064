import { sql } from 'kysely'
import type { Static } from 'typebox'
import { AppError } from '../../kernel/errors.ts'
import type { MasterDb } from '../../master/master.ts'
import { bytes, limitColumns, toLimits } from '../../master/plans.ts'
import type { ControlDeps } from '../control-deps.ts'
import { countSeats } from '../members/seats.ts'
import type { UsageView } from './schemas.ts'

const find = async (db: MasterDb, tenantId: string) => {
  const row = await db
    .selectFrom('tenants')
    .innerJoin('plans', 'plans.key', 'tenants.plan')
    .leftJoin('tenant_usage', 'tenant_usage.tenant_id', 'tenants.id')
    .select(limitColumns)
    .select([
      'tenants.plan',
      'tenants.status',
      'tenant_usage.storage_bytes as stored',
      'tenant_usage.measured_at',
    ])
    .select(sql<Date>`date_trunc('minute', now()) + interval '1 minute'`.as('next_minute'))
    .select(
      sql<Date>`(date_trunc('day', now() at time zone 'utc') + interval '1 day') at time zone 'utc'`.as(
        'next_day',
      ),
    )
    .where('tenants.id', '=', tenantId)
    .executeTakeFirst()
  if (row === undefined) throw new AppError('not_found', 'There is no such tenant.')
  return row
}

/** What a tenant uses of its plan. What only its own database can tell is null while that can't be asked. */
export const readUsage = async (
  deps: Pick<ControlDeps, 'db' | 'readTenantCounts' | 'readRequestCount'>,
  tenantId: string,
): Promise<Static<typeof UsageView>> => {
  const row = await find(deps.db, tenantId)
  const [seats, requests, counts] = await Promise.all([
    countSeats(deps.db, tenantId),
    deps.readRequestCount(tenantId),
    row.status === 'active' ? deps.readTenantCounts(tenantId) : undefined,
  ])
  const limits = toLimits(row)
  const lasting = { period: null, resetsAt: null }
  const daily = { period: 'day' as const, resetsAt: row.next_day.toISOString() }
  const ofMinute = { period: 'minute' as const, resetsAt: row.next_minute.toISOString() }
  return {
    plan: row.plan,
    usage: {
      seats: { used: seats, limit: limits.seats, ...lasting },
      projects: { used: counts?.projects ?? null, limit: limits.projects, ...lasting },
      jobsPerDay: { used: counts?.jobsToday ?? null, limit: limits.jobsPerDay, ...daily },
      requestsPerMinute: { used: requests, limit: limits.requestsPerMinute, ...ofMinute },
      connections: { used: counts?.connections ?? null, limit: limits.connections, ...lasting },
      storageBytes: { used: bytes(row.stored), limit: limits.storageBytes, ...lasting },
    },
    storageMeasuredAt: row.measured_at?.toISOString() ?? null,
  }
}
