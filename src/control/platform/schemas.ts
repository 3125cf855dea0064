import { type Static, Type } from 'typebox'
import { Id, Nullable, Time } from '../../http/schemas.ts'
import type { ListedTenant } from '../../master/tenants.ts'
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
    createdAt: Time(),
  },
  { title: 'PlatformTenant' },
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
  createdAt: row.created_at.toISOString(),
})
