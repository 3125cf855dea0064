import { sql } from 'kysely'
import type { MasterDb } from '../../master/master.ts'
import type { DatabasesTable, OperationsTable } from '../../master/tables.ts'

export type PageOf = { limit: number; after: string | undefined }

const operations = (db: MasterDb) => db.selectFrom('operations').selectAll()

export type ListedOperation = Awaited<ReturnType<ReturnType<typeof operations>['executeTakeFirstOrThrow']>>

export type OperationFilter = {
  kind?: OperationsTable['kind'] | undefined
  status?: OperationsTable['status'] | undefined
  tenantId?: string | undefined
  databaseId?: string | undefined
}

/** The journal, newest first, and one more than `limit` when there are more. */
export const listOperations = (
  db: MasterDb,
  { limit, after }: PageOf,
  { kind, status, tenantId, databaseId }: OperationFilter,
): Promise<ListedOperation[]> => {
  let query = operations(db)
  if (kind !== undefined) query = query.where('kind', '=', kind)
  if (status !== undefined) query = query.where('status', '=', status)
  if (tenantId !== undefined) query = query.where('tenant_id', '=', tenantId)
  if (databaseId !== undefined) query = query.where('database_id', '=', databaseId)
  if (after !== undefined) query = query.where('id', '<', after)
  return query
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute()
}

export const findOperation = (db: MasterDb, id: string): Promise<ListedOperation | undefined> =>
  operations(db).where('id', '=', id).executeTakeFirst()

/** Every column but the sealed login of the provisioner. */
const clusters = (db: MasterDb) =>
  db.selectFrom('clusters').select((row) => [
    'id',
    'name',
    'kind',
    'region',
    'host',
    'port',
    'ssl',
    'status',
    'connection_budget',
    'connections_per_node',
    'created_at',
    row
      .selectFrom('databases')
      .whereRef('databases.cluster_id', '=', 'clusters.id')
      .select(({ fn }) => fn.countAll<string>().as('count'))
      .as('databases'),
  ])

export type ListedCluster = Awaited<ReturnType<ReturnType<typeof clusters>['executeTakeFirstOrThrow']>>

/** Clusters, newest first, and one more than `limit` when there are more. */
export const listClustersOf = (db: MasterDb, { limit, after }: PageOf): Promise<ListedCluster[]> =>
  clusters(db)
    .$if(after !== undefined, (query) => query.where('id', '<', after ?? ''))
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute()

export const findCluster = (db: MasterDb, id: string): Promise<ListedCluster | undefined> =>
  clusters(db).where('id', '=', id).executeTakeFirst()

/** Every column but the sealed password. */
const databases = (db: MasterDb) =>
  db
    .selectFrom('databases')
    .innerJoin('clusters', 'clusters.id', 'databases.cluster_id')
    .leftJoin('tenants', 'tenants.database_id', 'databases.id')
    .select([
      'databases.id',
      'databases.name',
      'databases.status',
      'databases.cluster_id',
      'clusters.name as cluster',
      'tenants.id as tenant_id',
      'tenants.slug as tenant_slug',
      'databases.schema_version',
      'databases.credential_version',
      'databases.epoch',
      'databases.created_at',
      'databases.updated_at',
    ])

export type ListedDatabase = Awaited<ReturnType<ReturnType<typeof databases>['executeTakeFirstOrThrow']>>

export type DatabaseFilter = {
  status?: DatabasesTable['status'] | undefined
  clusterId?: string | undefined
  tenantId?: string | undefined
  schemaVersion?: string | undefined
}

/** Databases, newest first, and one more than `limit` when there are more. */
export const listDatabases = (
  db: MasterDb,
  { limit, after }: PageOf,
  { status, clusterId, tenantId, schemaVersion }: DatabaseFilter,
): Promise<ListedDatabase[]> => {
  let query = databases(db)
  if (status !== undefined) query = query.where('databases.status', '=', status)
  if (clusterId !== undefined) query = query.where('databases.cluster_id', '=', clusterId)
  if (tenantId !== undefined) query = query.where('tenants.id', '=', tenantId)
  if (schemaVersion !== undefined) query = query.where('databases.schema_version', '=', schemaVersion)
  if (after !== undefined) query = query.where('databases.id', '<', after)
  return query
    .orderBy('databases.id', 'desc')
    .limit(limit + 1)
    .execute()
}

export const findDatabase = (db: MasterDb, id: string): Promise<ListedDatabase | undefined> =>
  databases(db).where('databases.id', '=', id).executeTakeFirst()

const inUse = ['spare', 'held'] as const

/** How many databases that are in use, or wait to be, have each schema version; the oldest version first. */
export const countVersions = (db: MasterDb) =>
  db
    .selectFrom('databases')
    .where('status', 'in', inUse)
    .groupBy('schema_version')
    .select(({ fn }) => [
      'schema_version',
      fn.countAll<string>().as('databases'),
      fn.countAll<string>().filterWhere('status', '=', 'held').as('held'),
    ])
    .orderBy(sql`schema_version collate "C"`)
    .execute()

/** The databases in use whose last migration failed, the latest first. */
export const listFailedMigrations = (db: MasterDb, limit: number) =>
  db
    .selectFrom('databases')
    .innerJoinLateral(
      (lateral) =>
        lateral
          .selectFrom('operations')
          .whereRef('operations.database_id', '=', 'databases.id')
          .where('operations.kind', '=', 'migrate')
          .orderBy('operations.id', 'desc')
          .limit(1)
          .select(['id', 'status', 'error', 'attempts', 'finished_at'])
          .as('last'),
      (join) => join.onTrue(),
    )
    .leftJoin('tenants', 'tenants.database_id', 'databases.id')
    .where('databases.status', 'in', inUse)
    .where('last.status', '=', 'failed')
    .select([
      'last.id as operation_id',
      'databases.id as database_id',
      'databases.name',
      'databases.schema_version',
      'tenants.id as tenant_id',
      'last.error',
      'last.attempts',
      'last.finished_at',
    ])
    .orderBy('last.id', 'desc')
    .limit(limit)
    .execute()

export type FailedMigration = Awaited<ReturnType<typeof listFailedMigrations>>[number]
