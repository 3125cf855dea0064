import type { ListedTenant } from '../../../src/master/tenants.ts'

/** A tenant as `--json` prints it. */
export const toTenantJson = (tenant: ListedTenant) => ({
  id: tenant.id,
  slug: tenant.slug,
  name: tenant.name,
  status: tenant.status,
  plan: tenant.plan,
  region: tenant.region,
  tier: tenant.tier,
  database: tenant.database,
  cluster: tenant.cluster,
  schemaVersion: tenant.schema_version,
  createdAt: tenant.created_at.toISOString(),
})

/** The same as lines for people. A tenant that is still to get its database has a dash. */
export const toTenantFields = (tenant: ListedTenant): [name: string, value: string][] => [
  ['id', tenant.id],
  ['slug', tenant.slug],
  ['name', tenant.name],
  ['status', tenant.status],
  ['plan', tenant.plan],
  ['region', tenant.region],
  ['tier', tenant.tier],
  ['database', tenant.database ?? '-'],
  ['cluster', tenant.cluster ?? '-'],
  ['schema', tenant.schema_version ?? '-'],
  ['created', tenant.created_at.toISOString()],
]
