import { isUuid } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'

const tenantsWithDeed = (db: MasterDb) =>
  db
    .selectFrom('tenants')
    .leftJoin('databases', 'databases.id', 'tenants.database_id')
    .leftJoin('clusters', 'clusters.id', 'databases.cluster_id')
    .select([
      'tenants.id',
      'tenants.slug',
      'tenants.name',
      'tenants.status',
      'tenants.plan',
      'tenants.region',
      'tenants.tier',
      'tenants.created_at',
      'tenants.logo_url',
      'tenants.purge_after',
      'databases.name as database',
      'databases.schema_version',
      'clusters.name as cluster',
    ])

/** A tenant as operators see it: with the database it holds and where that is. */
export type ListedTenant = Awaited<ReturnType<typeof listTenants>>[number]

/** All tenants, newest first, beginning after the one with id `after`. */
export const listTenants = (db: MasterDb, page: { limit: number; after: string | undefined }) =>
  tenantsWithDeed(db)
    .$if(page.after !== undefined, (query) => query.where('tenants.id', '<', page.after ?? ''))
    .orderBy('tenants.id', 'desc')
    .limit(page.limit)
    .execute()

/** One tenant by id or slug, or undefined. */
export const findTenant = (db: MasterDb, idOrSlug: string) =>
  tenantsWithDeed(db)
    .where(isUuid(idOrSlug) ? 'tenants.id' : 'tenants.slug', '=', idOrSlug)
    .executeTakeFirst()

/** A tenant as its members see it. */
export const findTenantFace = (db: MasterDb, id: string) =>
  db
    .selectFrom('tenants')
    .select(['id', 'slug', 'name', 'status', 'plan', 'region', 'tier', 'logo_url', 'created_at'])
    .where('id', '=', id)
    .executeTakeFirst()

/**
 * The tenant's row, locked until the transaction ends: whatever changes who belongs to a tenant, or whether there is one,
 * takes this lock first, so that nothing it has looked at can change meanwhile. Undefined when there is none.
 */
export const lockTenant = (trx: MasterTransaction, tenantId: string) =>
  trx
    .selectFrom('tenants')
    .select(['id', 'slug', 'name', 'status', 'database_id', 'restore_to', 'purge_after'])
    .where('id', '=', tenantId)
    // Rows that only point to the tenant may still be added by others.
    .forNoKeyUpdate()
    .executeTakeFirst()

export type Erasure = Awaited<ReturnType<typeof listErasures>>[number]

/** Certificates of erased tenants, newest first, and one more than `limit` when there are more. */
export const listErasures = (db: MasterDb, page: { limit: number; after: string | undefined }) =>
  db
    .selectFrom('erasures')
    .selectAll()
    .$if(page.after !== undefined, (query) => query.where('id', '<', page.after ?? ''))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
