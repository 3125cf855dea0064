import { sql } from 'kysely'
import type { TenantPlan } from '../kernel/plan-limits.ts'
import type { TenantStatus } from '../kernel/tenant-status.ts'
import type { MasterDb } from '../master/master.ts'
import { limitColumns, toTenantPlan } from '../master/plans.ts'
import { expandPermissions, type Permission } from './catalogue.ts'

/** Who holds a grant, as the tenant's directory of people knows them. */
export type Holder = Readonly<{
  /** `operator`: a platform admin who is no member. */
  kind: 'member' | 'system' | 'operator'
  email: string
  firstName: string
  lastName: string | null
}>

/** What a person holds in a tenant right now. */
export type Grant = Readonly<{
  tenantId: string
  tenantStatus: TenantStatus
  holder: Holder
  role: string
  permissions: ReadonlySet<Permission>
  /** The tenant's, which limits everybody in it alike. */
  plan: TenantPlan
  /** From then on it is none: of a platform admin who entered the tenant for a set time. Members have no such end. */
  expiresAt?: Date
}>

const memberships = (db: MasterDb, tenantId: string, personId: string) =>
  db
    .selectFrom('memberships')
    .select(['role_id', sql<Date | null>`null::timestamptz`.as('expires_at')])
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .where('status', '=', 'active')

/** The system role Admin, for a platform admin who has entered the tenant, as long as both last. */
const entries = (db: MasterDb, tenantId: string, personId: string) =>
  db
    .selectFrom('tenant_entries')
    .innerJoin('people', 'people.id', 'tenant_entries.person_id')
    .innerJoin('roles', (join) => join.on('roles.name', '=', 'Admin').on('roles.tenant_id', 'is', null))
    .select(['roles.id as role_id', sql<Date | null>`tenant_entries.expires_at`.as('expires_at')])
    .where('tenant_entries.tenant_id', '=', tenantId)
    .where('tenant_entries.person_id', '=', personId)
    .where('tenant_entries.expires_at', '>', sql<Date>`now()`)
    .where('people.platform_admin', '=', true)
    .where('people.disabled_at', 'is', null)

/**
 * One row for each permission, or pattern of permissions, that the person's role has; none when they are no active member
 * and have not entered as a platform admin. Who is a member is nothing else.
 */
export const grantQuery = (db: MasterDb, tenantId: string, personId: string) =>
  db
    .with('place', () =>
      memberships(db, tenantId, personId).unionAll(
        entries(db, tenantId, personId).where((w) => w.not(w.exists(memberships(db, tenantId, personId)))),
      ),
    )
    .selectFrom('place')
    .innerJoin('tenants', (join) => join.on('tenants.id', '=', tenantId))
    .innerJoin('plans', 'plans.key', 'tenants.plan')
    .leftJoin('subscriptions', 'subscriptions.tenant_id', 'tenants.id')
    .leftJoin('tenant_usage', 'tenant_usage.tenant_id', 'tenants.id')
    .innerJoin('people', (join) => join.on('people.id', '=', personId))
    .innerJoin('roles', 'roles.id', 'place.role_id')
    .leftJoin('role_policies', 'role_policies.role_id', 'roles.id')
    .leftJoin('policy_permissions', 'policy_permissions.policy_id', 'role_policies.policy_id')
    .distinct()
    .select(['tenants.status', 'roles.name', 'policy_permissions.permission', 'place.expires_at'])
    .select(limitColumns)
    .select(['tenants.plan', 'subscriptions.status as subscription', 'tenant_usage.storage_bytes as stored'])
    .select(['people.kind', 'people.email', 'people.first_name', 'people.last_name'])

type GrantRow = Awaited<ReturnType<ReturnType<typeof grantQuery>['execute']>>[number]

const holderOf = ({ kind, email, first_name, last_name, expires_at }: GrantRow): Holder => ({
  kind: kind === 'system' ? 'system' : expires_at === null ? 'member' : 'operator',
  email,
  firstName: first_name,
  lastName: last_name,
})

/** Reads the rows of `grantQuery`; undefined when there are none. */
export const toGrant = (tenantId: string, rows: readonly GrantRow[]): Grant | undefined => {
  const first = rows[0]
  if (first === undefined) return undefined
  const patterns = rows.flatMap(({ permission }) => (permission === null ? [] : [permission]))
  return {
    tenantId,
    tenantStatus: first.status,
    holder: holderOf(first),
    role: first.name,
    permissions: new Set(expandPermissions(patterns)),
    plan: toTenantPlan(first),
    ...(first.expires_at === null ? {} : { expiresAt: first.expires_at }),
  }
}
