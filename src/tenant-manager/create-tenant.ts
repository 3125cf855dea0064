import { type Selectable, sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import type { TenantsTable } from '../master/tables.ts'
import { enqueue } from '../queue/enqueue.ts'
import { claimSpare, findFittingClusters, type Tier } from './claim-spare.ts'
import { beginOperation } from './operations.ts'
import { checkSlug, slugFromName, withRandomEnding } from './slug.ts'

export type TenantRow = Selectable<TenantsTable>

export type NewTenant = {
  name: string
  /** Made from the name when left out. */
  slug?: string | undefined
  plan: string
  /** Any when left out. */
  region?: string | undefined
  /** The name of the cluster it shall be on; any that fits when left out. */
  cluster?: string | undefined
  tier: Tier
  /** The id of the person who becomes the tenant's first member, with the system role Admin. */
  firstAdmin: string
}

/** Slugs tried when none was asked for: the plain one, then with random endings. */
const slugAttempts = 5

/**
 * Creates a tenant in the caller's transaction. With a spare ready it is `active` and holds it; without one it is
 * `pending` and a worker builds its database once the transaction commits. Throws `slug_taken`, and `validation_failed`
 * when no cluster takes such a tenant; after either the caller must roll back.
 */
export const createTenant = async (
  trx: MasterTransaction,
  tenant: NewTenant,
  schemaVersion: string,
): Promise<TenantRow> => {
  const slug = tenant.slug === undefined ? undefined : checkSlug(tenant.slug)
  const spare = await claimSpare(trx, tenant, schemaVersion)
  const place =
    spare === undefined ? await findPlace(trx, tenant) : { id: spare.cluster_id, region: spare.region }
  const row = await insertTenant(trx, slug, {
    id: newId(),
    name: tenant.name,
    status: spare === undefined ? 'pending' : 'active',
    database_id: spare?.id ?? null,
    plan: tenant.plan,
    region: place.region,
    tier: tenant.tier,
    logo_url: null,
    purge_after: null,
  })
  await insertAdmin(trx, row.id, tenant.firstAdmin)
  if (spare === undefined) {
    const wish = tenant.cluster === undefined ? {} : { clusterId: place.id }
    await beginOperation(trx, 'provision', 'waiting', { tenantId: row.id, ...wish })
    await enqueueProvision(trx, row.id)
  }
  await enqueueRefill(trx)
  return row
}

/** With a job key: while a job for this tenant waits, further ones change nothing. */
export const enqueueProvision = (db: MasterDb, tenantId: string): Promise<void> =>
  enqueue(db, 'provision-tenant', { tenantId }, { jobKey: provisionJobKey(tenantId) })

export const provisionJobKey = (tenantId: string): string => `provision-tenant:${tenantId}`

/** One refill after another, over all nodes, so that two never build the same missing spare. */
export const enqueueRefill = (db: MasterDb): Promise<void> =>
  enqueue(db, 'refill-spares', {}, { jobKey: 'refill-spares', queue: 'refill-spares' })

const findPlace = async (
  trx: MasterTransaction,
  tenant: NewTenant,
): Promise<{ id: string; region: string }> => {
  const [cluster] = await findFittingClusters(trx, tenant)
  if (cluster !== undefined) return cluster
  const region = tenant.region === undefined ? '' : ` in region ${tenant.region}`
  const name = tenant.cluster === undefined ? 'No server' : `No open server of the name ${tenant.cluster}`
  throw new AppError('validation_failed', `${name} takes tenants of tier ${tenant.tier}${region}.`)
}

type TenantValues = Omit<TenantRow, 'slug' | 'created_at' | 'updated_at'>

const insertTenant = async (
  trx: MasterTransaction,
  wanted: string | undefined,
  values: TenantValues,
): Promise<TenantRow> => {
  const base = wanted ?? slugFromName(values.name)
  for (let attempt = 0; attempt < (wanted === undefined ? slugAttempts : 1); attempt += 1) {
    const slug = attempt === 0 ? base : withRandomEnding(base)
    // A conflict is an answer here, not an error: that would end the caller's transaction.
    const row = await trx
      .insertInto('tenants')
      .values({ ...values, slug })
      .onConflict((conflict) => conflict.column('slug').doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row !== undefined) return row
  }
  throw new AppError('slug_taken', `The slug ${base} is taken. Choose another one.`)
}

const insertAdmin = async (trx: MasterTransaction, tenantId: string, personId: string): Promise<void> => {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('memberships')
    .columns(['tenant_id', 'person_id', 'role_id'])
    .expression((eb) =>
      eb
        .selectFrom('roles')
        .select([
          sql<string>`${tenantId}::uuid`.as('tenant_id'),
          sql<string>`${personId}::uuid`.as('person_id'),
          'id',
        ])
        .where('tenant_id', 'is', null)
        .where('name', '=', 'Admin'),
    )
    .executeTakeFirstOrThrow()
  if (numInsertedOrUpdatedRows !== 1n) throw new Error('the system role Admin is missing from the master')
}
