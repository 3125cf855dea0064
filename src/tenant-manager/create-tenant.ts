import { type Selectable, sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { checkSlug, slugFromName, withFreeSlug } from '../kernel/slug.ts'
import { type MasterAuditEntry, masterAuditOf, writeMasterAudit } from '../master/audit-log.ts'
import { type Master, type MasterDb, type MasterTransaction, runPrepared } from '../master/master.ts'
import { isForeignKeyViolation } from '../master/postgres-errors.ts'
import type { TenantsTable } from '../master/tables.ts'
import { addJob, enqueue } from '../queue/enqueue.ts'
import { claimSpare, findFittingClusters, findingSpare, heldNow, type Tier } from './claim-spare.ts'
import { beginOperation } from './operations.ts'

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
  /** The id of the person who becomes the tenant's first member, with the system role Admin; undefined: it has none yet. */
  firstAdmin: string | undefined
  /** Who creates it: for the audit log. */
  by: Pick<MasterAuditEntry, 'actor' | 'caller'>
}

/**
 * Creates a tenant and its audit entry, all or nothing: in the caller's transaction when `db` is one. With a spare ready
 * it is `active` and holds it; without one it is `pending` and a worker builds its database after the commit. Throws
 * `slug_taken`, and `validation_failed` when no cluster takes such a tenant or there is no such plan; the caller's transaction must then roll back.
 */
export const createTenant = async (
  master: Master,
  db: MasterDb,
  tenant: NewTenant,
  schemaVersion: string,
): Promise<TenantRow> => {
  const slug = tenant.slug === undefined ? undefined : checkSlug(tenant.slug)
  try {
    if (tenant.tier === 'shared') {
      const swift = creatingFromSpare(db, slug ?? slugFromName(tenant.name, 'tenant'), tenant, schemaVersion)
      const [row] = await (db.isTransaction ? swift.execute() : runPrepared(master, swift.compile()))
      if (row !== undefined) return row
    }
    const slowly = (trx: MasterTransaction): Promise<TenantRow> =>
      createStepByStep(trx, slug, tenant, schemaVersion)
    return await (db.isTransaction ? slowly(db as MasterTransaction) : db.transaction().execute(slowly))
  } catch (cause) {
    if (!isForeignKeyViolation(cause, 'tenants_plan_fkey')) throw cause
    throw new AppError('validation_failed', `There is no plan ${tenant.plan}.`, { cause })
  }
}

const createStepByStep = async (
  trx: MasterTransaction,
  slug: string | undefined,
  tenant: NewTenant,
  schemaVersion: string,
): Promise<TenantRow> => {
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
    deleted_at: null,
    restore_to: null,
  })
  if (tenant.firstAdmin !== undefined) await insertAdmin(trx, row.id, tenant.firstAdmin)
  await writeMasterAudit(trx, created(tenant, row.id))
  if (spare === undefined) {
    const wish = tenant.cluster === undefined ? {} : { clusterId: place.id }
    await beginOperation(trx, 'provision', 'waiting', { tenantId: row.id, ...wish })
    await enqueueProvision(trx, row.id)
  }
  await enqueueRefill(trx)
  return row
}

const created = ({ by }: NewTenant, id: string): MasterAuditEntry => ({
  ...by,
  action: 'tenant.created',
  entity: { type: 'tenant', id },
  tenantId: id,
})

const tenantColumns = [
  ...(['id', 'slug', 'name', 'status', 'database_id', 'plan', 'region', 'tier'] as const),
  ...(['logo_url', 'purge_after', 'deleted_at', 'restore_to', 'created_at', 'updated_at'] as const),
] as const

/**
 * The usual way, in one statement, because each costs a round trip and a transaction two more: lock a spare, insert the
 * tenant that holds it, then its first member, the audit entry and the refill job. No row, with nothing changed, when no
 * spare is free or the slug is taken.
 */
const creatingFromSpare = (db: MasterDb, slug: string, wanted: NewTenant, schemaVersion: string) => {
  const id = newId()
  return (
    findingSpare(db, wanted, schemaVersion)
      .with('tenant', (cte) =>
        cte
          .insertInto('tenants')
          .columns(['id', 'slug', 'name', 'status', 'database_id', 'plan', 'region', 'tier'])
          .expression((eb) =>
            eb
              .selectFrom('spare')
              .select([
                sql<string>`${id}::uuid`.as('id'),
                sql<string>`${slug}::text`.as('slug'),
                sql<string>`${wanted.name}::text`.as('name'),
                sql<'active'>`'active'`.as('status'),
                'spare.id as database_id',
                sql<string>`${wanted.plan}::text`.as('plan'),
                'spare.region',
                sql<Tier>`${wanted.tier}::text`.as('tier'),
              ]),
          )
          .onConflict((conflict) => conflict.column('slug').doNothing())
          .returning(tenantColumns),
      )
      .with('claimed', (cte) =>
        cte
          .updateTable('databases')
          .from('tenant')
          .set(heldNow)
          .whereRef('databases.id', '=', 'tenant.database_id')
          .returning('databases.id'),
      )
      .with('member', (cte) =>
        cte
          .insertInto('memberships')
          .columns(['tenant_id', 'person_id', 'role_id'])
          .expression((eb) =>
            eb
              .selectFrom('tenant')
              // Left, so that a master without the role refuses the null instead of leaving a tenant without an Admin.
              .leftJoin('roles', (join) =>
                join.on('roles.tenant_id', 'is', null).on('roles.name', '=', 'Admin'),
              )
              .select([
                'tenant.id as tenant_id',
                sql<string>`${wanted.firstAdmin ?? null}::uuid`.as('person_id'),
                sql<string>`roles.id`.as('role_id'),
              ])
              .where(sql<boolean>`${wanted.firstAdmin ?? null}::uuid is not null`),
          ),
      )
      .with('audit', () => masterAuditOf('tenant', created(wanted, id)))
      .selectFrom('tenant')
      .select(tenantColumns)
      // For its effect, once for the row there is; the planner may leave out a CTE that nobody reads, not this.
      .where(sql<boolean>`(${addJob('refill-spares', {}, refillJob)}).id is not null`)
  )
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
): Promise<TenantRow> =>
  withFreeSlug(
    wanted,
    () => slugFromName(values.name, 'tenant'),
    (slug) =>
      trx
        .insertInto('tenants')
        .values({ ...values, slug })
        .onConflict((conflict) => conflict.column('slug').doNothing())
        .returningAll()
        .executeTakeFirst(),
  )

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
