import { type Static, Type } from 'typebox'
import { Id, Nullable, Time } from '../../http/schemas.ts'
import type { Erasure, ListedTenant } from '../../master/tenants.ts'
import { TermsView, UsageView } from '../plans/schemas.ts'
import { TenantStatus } from '../tenants/tenant-view.ts'

export const PlatformTenantView = Type.Object(
  {
    id: Id(),
    slug: Type.String(),
    name: Type.String(),
    status: TenantStatus,
    plan: Type.String(),
    region: Type.String(),
    tier: Type.String(),
    database: Nullable(Type.String()),
    cluster: Nullable(Type.String()),
    schemaVersion: Nullable(Type.String()),
    logoUrl: Nullable(Type.String()),
    purgeAfter: Nullable({ ...Time(), description: 'Of a deleted tenant: when it is erased' }),
    createdAt: Time(),
  },
  { title: 'PlatformTenant' },
)

/** One tenant looked at closely. */
export const PlatformTenantDetail = Type.Object(
  {
    ...PlatformTenantView.properties,
    subscription: TermsView,
    usage: UsageView.properties.usage,
    storageMeasuredAt: UsageView.properties.storageMeasuredAt,
  },
  { title: 'PlatformTenantDetail' },
)

export const toPlatformTenantView = (row: ListedTenant): Static<typeof PlatformTenantView> => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  status: row.status,
  plan: row.plan,
  region: row.region,
  tier: row.tier,
  database: row.database,
  cluster: row.cluster,
  schemaVersion: row.schema_version,
  logoUrl: row.logo_url,
  purgeAfter: row.purge_after?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
})

export const ErasureView = Type.Object(
  {
    id: Id(),
    tenantId: Id(),
    slug: Type.String(),
    name: Type.String(),
    databaseName: Nullable(Type.String({ description: 'Also the name of its login role' })),
    cluster: Nullable(Type.String()),
    createdAt: Time(),
    deletedAt: Nullable(Time()),
    begunAt: Time(),
    auditEntries: Nullable(
      Type.Integer({ description: 'Entries of its audit log that are kept for a time' }),
    ),
    auditHash: Nullable(Type.String({ description: 'The last hash of that log' })),
    auditKeptUntil: Nullable(Time()),
    finishedAt: Nullable({ ...Time(), description: 'Database, roles, secret and all that was known: gone' }),
  },
  { title: 'Erasure' },
)

export const toErasureView = (row: Erasure): Static<typeof ErasureView> => ({
  id: row.id,
  tenantId: row.tenant_id,
  slug: row.slug,
  name: row.name,
  databaseName: row.database_name,
  cluster: row.cluster,
  createdAt: row.created_at.toISOString(),
  deletedAt: row.deleted_at?.toISOString() ?? null,
  begunAt: row.begun_at.toISOString(),
  auditEntries: row.audit_entries === null ? null : Number(row.audit_entries),
  auditHash: row.audit_hash,
  auditKeptUntil: row.audit_kept_until?.toISOString() ?? null,
  finishedAt: row.finished_at?.toISOString() ?? null,
})
