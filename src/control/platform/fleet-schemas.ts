import { type Static, Type } from 'typebox'
import { PageQuery } from '../../http/paging.ts'
import { Id, Line, Nullable, Time } from '../../http/schemas.ts'
import type { FailedMigration, ListedCluster, ListedDatabase, ListedOperation } from './fleet-queries.ts'

const OperationKind = Type.Union([
  Type.Literal('build'),
  Type.Literal('provision'),
  Type.Literal('erase'),
  Type.Literal('migrate'),
  Type.Literal('purge'),
])
const OperationStatus = Type.Union([
  Type.Literal('running'),
  Type.Literal('succeeded'),
  Type.Literal('failed'),
])
const DatabaseStatus = Type.Union([
  Type.Literal('building'),
  Type.Literal('spare'),
  Type.Literal('held'),
  Type.Literal('retired'),
  Type.Literal('erasing'),
])
const TenantName = () => Line({ maxLength: 63, description: 'Id or slug of a tenant' })

export const OperationsQuery = Type.Object({
  ...PageQuery.properties,
  kind: Type.Optional(OperationKind),
  status: Type.Optional(OperationStatus),
  tenant: Type.Optional(TenantName()),
  databaseId: Type.Optional(Id()),
})
export const DatabasesQuery = Type.Object({
  ...PageQuery.properties,
  status: Type.Optional(DatabaseStatus),
  clusterId: Type.Optional(Id()),
  tenant: Type.Optional(TenantName()),
  schemaVersion: Type.Optional(Line({ maxLength: 100 })),
})

export const OperationView = Type.Object(
  {
    id: Id(),
    kind: OperationKind,
    status: OperationStatus,
    step: Type.String(),
    tenantId: Nullable(Id()),
    databaseId: Nullable(Id()),
    clusterId: Nullable(Id()),
    attempts: Type.Integer(),
    error: Nullable({ ...Type.String(), description: 'What stopped the last attempt' }),
    createdAt: Time(),
    updatedAt: Time(),
    finishedAt: Nullable(Time()),
  },
  { title: 'Operation' },
)

export const toOperationView = (row: ListedOperation): Static<typeof OperationView> => ({
  id: row.id,
  kind: row.kind,
  status: row.status,
  step: row.step,
  tenantId: row.tenant_id,
  databaseId: row.database_id,
  clusterId: row.cluster_id,
  attempts: row.attempts,
  error: row.error,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  finishedAt: row.finished_at?.toISOString() ?? null,
})

export const ClusterView = Type.Object(
  {
    id: Id(),
    name: Type.String(),
    kind: Type.String(),
    region: Type.String(),
    host: Type.String(),
    port: Type.Integer(),
    ssl: Type.String(),
    status: Type.String(),
    connectionBudget: Type.Integer({
      description: 'Connections to tenants that all nodes together may have',
    }),
    connectionsPerNode: Type.Integer({ description: 'Of the server’s, that each node takes for itself' }),
    databases: Type.Integer(),
    createdAt: Time(),
  },
  { title: 'Cluster' },
)

export const toClusterView = (row: ListedCluster): Static<typeof ClusterView> => ({
  id: row.id,
  name: row.name,
  kind: row.kind,
  region: row.region,
  host: row.host,
  port: row.port,
  ssl: row.ssl,
  status: row.status,
  connectionBudget: row.connection_budget,
  connectionsPerNode: row.connections_per_node,
  databases: Number(row.databases),
  createdAt: row.created_at.toISOString(),
})

export const DatabaseView = Type.Object(
  {
    id: Id(),
    name: Type.String(),
    status: DatabaseStatus,
    clusterId: Id(),
    cluster: Type.String(),
    tenantId: Nullable(Id()),
    tenantSlug: Nullable(Type.String()),
    schemaVersion: Type.String(),
    credentialVersion: Type.Integer(),
    epoch: Type.Integer(),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Database' },
)

export const toDatabaseView = (row: ListedDatabase): Static<typeof DatabaseView> => ({
  id: row.id,
  name: row.name,
  status: row.status,
  clusterId: row.cluster_id,
  cluster: row.cluster,
  tenantId: row.tenant_id,
  tenantSlug: row.tenant_slug,
  schemaVersion: row.schema_version,
  credentialVersion: row.credential_version,
  epoch: row.epoch,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})

export const MigrationsView = Type.Object(
  {
    current: Type.String({ description: 'The schema version of this release' }),
    databases: Type.Integer({ description: 'Held by tenants, or spare' }),
    upToDate: Type.Integer({ description: 'Of these, at the current version or a newer one' }),
    behind: Type.Integer(),
    versions: Type.Array(
      Type.Object({ schemaVersion: Type.String(), databases: Type.Integer(), held: Type.Integer() }),
    ),
    failed: Type.Array(
      Type.Object({
        operationId: Id(),
        databaseId: Id(),
        database: Type.String(),
        tenantId: Nullable(Id()),
        schemaVersion: Type.String(),
        error: Nullable(Type.String()),
        attempts: Type.Integer(),
        failedAt: Nullable(Time()),
      }),
      { description: 'Databases whose last migration failed, the latest 100' },
    ),
  },
  { title: 'FleetMigrations' },
)

type Version = { schema_version: string; databases: string; held: string }

export const toMigrationsView = (
  current: string,
  counted: readonly Version[],
  failed: readonly FailedMigration[],
): Static<typeof MigrationsView> => {
  const versions = counted.map((row) => ({
    schemaVersion: row.schema_version,
    databases: Number(row.databases),
    held: Number(row.held),
  }))
  const sum = (rows: typeof versions) => rows.reduce((total, { databases }) => total + databases, 0)
  const behind = sum(versions.filter(({ schemaVersion }) => schemaVersion < current))
  return {
    current,
    databases: sum(versions),
    upToDate: sum(versions) - behind,
    behind,
    versions,
    failed: failed.map((row) => ({
      operationId: row.operation_id,
      databaseId: row.database_id,
      database: row.name,
      tenantId: row.tenant_id,
      schemaVersion: row.schema_version,
      error: row.error,
      attempts: row.attempts,
      failedAt: row.finished_at?.toISOString() ?? null,
    })),
  }
}
