import type { FastifyRequest } from 'fastify'
import type { TenantDb as RoutedDb } from '../connection-router/tenant-db.ts'
import { type TenantScope, tenantScopeOf } from '../http/guards.ts'
import type { TenantTables } from './tables.ts'

/** The handle of one tenant's database; only the connection router makes one. */
export type TenantDb = RoutedDb<TenantTables>

/** The tenant of this request, its database and its caller. Throws outside the tenant scope. */
export const tenantOf = (request: FastifyRequest): TenantScope<TenantTables> =>
  tenantScopeOf<TenantTables>(request)
