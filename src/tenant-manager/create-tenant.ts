import { type Selectable, sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import type { TenantsTable } from '../master/tables.ts'
import { addJob, enqueue } from '../queue/enqueue.ts'
import { claimingSpare, findFittingClusters, type Tier } from './claim-spare.ts'
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
  const id = newId()
  const swift = await createFromSpare(trx, id, slug ?? slugFromName(tenant.name), tenant, schemaVersion)
  if (swift?.tenant !== undefined) return swift.tenant
  const spare = swift?.spare
  const place =
    spare === undefined ? await findPlace(trx, tenant) : { id: spare.clusterId, region: spare.region }
  const row = await insertTenant(trx, slug, {
    id,
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

/** What the one statement led to: the tenant, or only a spare for it, because the slug was taken. */
type FromSpare = {
  spare: { id: string; clusterId: string; region: string }
  tenant: TenantRow | undefined
}

/**
 * The usual way, in one statement, because each costs a third of a millisecond: claim a spare, insert the tenant and its
 * first member, queue the refill. Undefined when no spare is free. With the slug taken only the spare is claimed.
 */
const createFromSpare = async (
  trx: MasterTransaction,
  id: string,
  slug: string,
  wanted: NewTenant,
  schemaVersion: string,
): Promise<FromSpare | undefined> => {
  if (wanted.tier !== 'shared') return undefined
  const row = await claimingSpare(trx, wanted, schemaVersion)
    .with('tenant', (cte) =>
      cte
        .insertInto('tenants')
        .columns(['id', 'slug', 'name', 'status', 'database_id', 'plan', 'region', 'tier'])
        .expression((eb) =>
          eb
            .selectFrom('claimed')
            .select([
              sql<string>`${id}::uuid`.as('id'),
              sql<string>`${slug}::text`.as('slug'),
              sql<string>`${wanted.name}::text`.as('name'),
              sql<'active'>`'active'`.as('status'),
              'claimed.id as database_id',
              sql<string>`${wanted.plan}::text`.as('plan'),
              'claimed.region',
              sql<Tier>`${wanted.tier}::text`.as('tier'),
            ]),
        )
        .onConflict((conflict) => conflict.column('slug').doNothing())
        .returningAll(),
    )
    .with('member', (cte) =>
      cte
        .insertInto('memberships')
        .columns(['tenant_id', 'person_id', 'role_id'])
        .expression((eb) =>
          eb
            .selectFrom('tenant')
            .innerJoin('roles', (join) =>
              join.on('roles.tenant_id', 'is', null).on('roles.name', '=', 'Admin'),
            )
            .select([
              'tenant.id as tenant_id',
              sql<string>`${wanted.firstAdmin}::uuid`.as('person_id'),
              'roles.id as role_id',
            ]),
        )
        .returning('person_id'),
    )
    .selectFrom('claimed')
    .leftJoin('tenant', 'tenant.database_id', 'claimed.id')
    .selectAll('tenant')
    .select([
      'claimed.id as spare_id',
      'claimed.cluster_id as spare_cluster',
      'claimed.region as spare_region',
    ])
    .select((eb) => eb.selectFrom('member').select(eb.fn.countAll<string>().as('count')).as('members'))
    .select(
      sql`case when tenant.id is not null then (${addJob('refill-spares', {}, refillJob)}).id end`.as('job'),
    )
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { spare_id, spare_cluster, spare_region, members, job: _, ...tenant } = row
  const spare = { id: spare_id, clusterId: spare_cluster, region: spare_region }
  if (tenant.id === null) return { spare, tenant: undefined }
  if (members !== '1') throw new Error(noAdminRole)
  return { spare, tenant: tenant as TenantRow }
}

const noAdminRole = 'the system role Admin is missing from the master'

/** With a job key: while a job for this tenant waits, further ones change nothing. */
export const enqueueProvision = (db: MasterDb, tenantId: string): Promise<void> =>
  enqueue(db, 'provision-tenant', { tenantId }, { jobKey: provisionJobKey(tenantId) })

export const provisionJobKey = (tenantId: string): string => `provision-tenant:${tenantId}`

/** One refill after another, over all nodes, so that two never build the same missing spare. */
export const enqueueRefill = (db: MasterDb): Promise<void> => enqueue(db, 'refill-spares', {}, refillJob)

const refillJob = { jobKey: 'refill-spares', queue: 'refill-spares' }

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
  if (numInsertedOrUpdatedRows !== 1n) throw new Error(noAdminRole)
}
