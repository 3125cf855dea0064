import type { TenantStatus } from '../kernel/tenant-status.ts'
import type { MasterDb } from '../master/master.ts'
import { expandPermissions, type Permission } from './catalogue.ts'

/** What a person holds in a tenant right now. */
export type Grant = Readonly<{
  tenantId: string
  tenantStatus: TenantStatus
  role: string
  permissions: ReadonlySet<Permission>
}>

/** One row for each permission, or pattern of permissions, that the person's role has; none when no active member. */
export const grantQuery = (db: MasterDb, tenantId: string, personId: string) =>
  db
    .selectFrom('memberships')
    .innerJoin('tenants', 'tenants.id', 'memberships.tenant_id')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .leftJoin('role_policies', 'role_policies.role_id', 'roles.id')
    .leftJoin('policy_permissions', 'policy_permissions.policy_id', 'role_policies.policy_id')
    .distinct()
    .select(['tenants.status', 'roles.name', 'policy_permissions.permission'])
    .where('memberships.tenant_id', '=', tenantId)
    .where('memberships.person_id', '=', personId)
    .where('memberships.status', '=', 'active')

type GrantRow = Awaited<ReturnType<ReturnType<typeof grantQuery>['execute']>>[number]

/** Reads the rows of `grantQuery`; undefined when the person is no active member. */
export const toGrant = (tenantId: string, rows: readonly GrantRow[]): Grant | undefined => {
  const first = rows[0]
  if (first === undefined) return undefined
  const patterns = rows.flatMap(({ permission }) => (permission === null ? [] : [permission]))
  return {
    tenantId,
    tenantStatus: first.status,
    role: first.name,
    permissions: new Set(expandPermissions(patterns)),
  }
}
