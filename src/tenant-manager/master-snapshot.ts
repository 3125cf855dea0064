import { sql } from 'kysely'
import type { DatabasesTable, OperationsTable, TenantsTable } from '../master/tables.ts'
import { queuedJobKeys } from '../queue/enqueue.ts'
import { type Context, databaseLock, tenantLock } from './context.ts'
import { provisionJobKey } from './create-tenant.ts'
import { outboxJobKey } from './deliver-outbox.ts'

export type KnownDatabase = {
  id: string
  clusterId: string
  name: string
  status: DatabasesTable['status']
  schemaVersion: string
  /** The tenant that holds the deed, by slug. */
  tenant: string | undefined
  /** Whether some process works on it right now. */
  inWork: boolean
}

export type KnownTenant = {
  id: string
  slug: string
  status: TenantsTable['status']
  databaseId: string | null
  /** Whether a job for its database waits or runs. */
  queued: boolean
}

export type RunningOperation = {
  id: string
  kind: OperationsTable['kind']
  step: string
  databaseId: string | null
  tenantId: string | null
  /** Whether the process that does it is alive. */
  live: boolean
}

/** What the master believes, as far as the reconciler compares it. */
export type MasterSnapshot = {
  databases: KnownDatabase[]
  tenants: KnownTenant[]
  operations: RunningOperation[]
  /** Tenants whose databases are to be told something, without a job that would do it. */
  untold: { id: string; slug: string }[]
  /** Tenants whose audit log is not the one whose head was signed. */
  changedLogs: { id: string; slug: string }[]
}

/** Minutes after which what waits in an outbox without a job was forgotten. */
const toldWithin = 5

const findChangedLogs = ({ master: { db } }: Context): Promise<MasterSnapshot['changedLogs']> =>
  db
    .selectFrom('audit_checkpoints')
    .innerJoin('tenants', 'tenants.id', 'audit_checkpoints.tenant_id')
    .select(['tenants.id', 'tenants.slug'])
    .where('audit_checkpoints.broken_at', 'is not', null)
    .execute()

const findUntold = async ({ master: { db }, migrations }: Context): Promise<MasterSnapshot['untold']> => {
  const waiting = await db
    .selectFrom('tenants')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .select(['tenants.id', 'tenants.slug'])
    .where('databases.schema_version', '>=', migrations.latest)
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('tenant_outbox')
          .select('id')
          .whereRef('tenant_id', '=', 'tenants.id')
          .where('created_at', '<', sql<Date>`now() - make_interval(mins => ${toldWithin})`),
      ),
    )
    .execute()
  const queued = await queuedJobKeys(
    db,
    waiting.map(({ id }) => outboxJobKey(id)),
  )
  return waiting.filter(({ id }) => !queued.has(outboxJobKey(id)))
}

/** Reads the master; changes nothing. Call it after the clusters were read: a row is there before what it speaks of. */
export const readMaster = async (context: Context): Promise<MasterSnapshot> => {
  const { db } = context.master
  const databases = await db
    .selectFrom('databases as d')
    .leftJoin('tenants as t', 't.database_id', 'd.id')
    .select(['d.id', 'd.cluster_id', 'd.name', 'd.status', 'd.schema_version', 't.slug as tenant'])
    .orderBy('d.created_at')
    .execute()
  // Those with a database are in the rows above.
  const tenants = await db
    .selectFrom('tenants')
    .select(['id', 'slug', 'status', 'database_id'])
    .where((eb) => eb.or([eb('database_id', 'is', null), eb('status', '=', 'pending')]))
    .where('status', '<>', 'deleted')
    .execute()
  const operations = await db
    .selectFrom('operations')
    .select(['id', 'kind', 'step', 'database_id', 'tenant_id'])
    .where('status', '=', sql.lit('running'))
    .execute()
  const locksOf = (row: { database_id: string | null; tenant_id: string | null }): string[] => [
    ...(row.database_id === null ? [] : [databaseLock(row.database_id)]),
    ...(row.tenant_id === null ? [] : [tenantLock(row.tenant_id)]),
  ]
  const held = await context.locks.whichHeld([
    ...new Set([
      ...databases.filter((row) => row.status !== 'held').map((row) => databaseLock(row.id)),
      ...tenants.map((row) => tenantLock(row.id)),
      ...operations.flatMap(locksOf),
    ]),
  ])
  const queued = await queuedJobKeys(
    db,
    tenants.map((row) => provisionJobKey(row.id)),
  )
  return {
    databases: databases.map((row) => ({
      id: row.id,
      clusterId: row.cluster_id,
      name: row.name,
      status: row.status,
      schemaVersion: row.schema_version,
      tenant: row.tenant ?? undefined,
      inWork: held.has(databaseLock(row.id)),
    })),
    tenants: tenants.map((row) => ({
      id: row.id,
      slug: row.slug,
      status: row.status,
      databaseId: row.database_id,
      queued: queued.has(provisionJobKey(row.id)) || held.has(tenantLock(row.id)),
    })),
    operations: operations.map((row) => ({
      id: row.id,
      kind: row.kind,
      step: row.step,
      databaseId: row.database_id,
      tenantId: row.tenant_id,
      live: locksOf(row).some((name) => held.has(name)),
    })),
    untold: await findUntold(context),
    changedLogs: await findChangedLogs(context),
  }
}
