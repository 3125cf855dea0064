import { isUuid } from '../kernel/ids.ts'
import type { MasterDb } from './master.ts'

const tenantColumns = [
  'tenants.id',
  'tenants.slug',
  'tenants.name',
  'tenants.status',
  'tenants.plan',
  'tenants.region',
  'tenants.tier',
  'tenants.logo_url',
  'tenants.created_at',
] as const

const membershipsOf = (db: MasterDb, personId: string) =>
  db
    .selectFrom('memberships')
    .innerJoin('tenants', 'tenants.id', 'memberships.tenant_id')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .select([...tenantColumns, 'roles.name as role'])
    .where('memberships.person_id', '=', personId)
    .where('memberships.status', '=', 'active')

/** A tenant as one of its active members sees it, with their role. */
export type MemberTenant = Awaited<ReturnType<typeof listMyTenants>>[number]

/** The most tenants that a session lists; who has more pages through GET /tenants. */
const sessionTenants = 200

/** The tenants a person is an active member of, newest first; deleted ones left out. */
export const listMyTenants = (
  db: MasterDb,
  personId: string,
  page: { limit: number; after: string | undefined } = { limit: sessionTenants, after: undefined },
) =>
  membershipsOf(db, personId)
    .where('tenants.status', '<>', 'deleted')
    .$if(page.after !== undefined, (query) => query.where('tenants.id', '<', page.after ?? ''))
    .orderBy('tenants.id', 'desc')
    .limit(page.limit)
    .execute()

/** One of a person's tenants by id or slug, deleted ones too; undefined when it is none of theirs. */
export const findMyTenant = (db: MasterDb, personId: string, idOrSlug: string) =>
  membershipsOf(db, personId)
    .where(isUuid(idOrSlug) ? 'tenants.id' : 'tenants.slug', '=', idOrSlug)
    .executeTakeFirst()

/** Any tenant as its members see it, by id or slug: for platform admins, who may enter every one. */
export const findAnyTenant = (
  db: MasterDb,
  idOrSlug: string,
): Promise<Omit<MemberTenant, 'role'> | undefined> =>
  db
    .selectFrom('tenants')
    .select(tenantColumns)
    .where(isUuid(idOrSlug) ? 'id' : 'slug', '=', idOrSlug)
    .executeTakeFirst()
