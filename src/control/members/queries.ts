import { sql } from 'kysely'
import { containing } from '../../kernel/containing.ts'
import { AppError } from '../../kernel/errors.ts'
import { isUuid } from '../../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

export type MemberStatus = 'active' | 'inactive' | 'pending'

/** The memberships of a tenant's people; system users are no members. */
const members = (db: MasterDb, tenantId: string) =>
  db
    .selectFrom('memberships')
    .innerJoin('people', 'people.id', 'memberships.person_id')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .select([
      'people.id',
      'people.email',
      'people.first_name',
      'people.last_name',
      'people.email_verified_at',
      'people.disabled_at',
      'roles.id as role_id',
      'roles.name as role',
      'memberships.status',
      'memberships.created_at',
      'memberships.updated_at',
    ])
    .select(sql<boolean>`roles.tenant_id is null and roles.name = 'Admin'`.as('is_admin'))
    .where('memberships.tenant_id', '=', tenantId)
    .where('people.kind', '=', 'person')

/** A member of a tenant, and whether the role is the system role Admin. */
export type Member = Awaited<ReturnType<typeof listMembers>>[number]

export type MemberFilter = { q?: string | undefined; status?: MemberStatus | undefined }

/** The members of a tenant, newest accounts first, and one more than `limit` when there are more. */
export const listMembers = (
  db: MasterDb,
  tenantId: string,
  { q, status }: MemberFilter,
  page: { limit: number; after: string | undefined },
) =>
  members(db, tenantId)
    .$if(q !== undefined, (query) =>
      query.where((w) =>
        w.or([
          w('people.email', 'ilike', containing(q ?? '')),
          w(sql<string>`concat_ws(' ', people.first_name, people.last_name)`, 'ilike', containing(q ?? '')),
        ]),
      ),
    )
    .$if(status !== undefined, (query) => query.where('memberships.status', '=', status ?? 'active'))
    .$if(page.after !== undefined, (query) => query.where('people.id', '<', page.after ?? ''))
    .orderBy('people.id', 'desc')
    .limit(page.limit + 1)
    .execute()

export const findMember = (db: MasterDb, tenantId: string, personId: string): Promise<Member | undefined> =>
  members(db, tenantId).where('people.id', '=', personId).executeTakeFirst()

/**
 * The id of a role of the tenant, or of a system role, by its name or id. It can't be deleted before the transaction ends.
 * Throws `not_found`.
 */
export const findRoleId = async (
  trx: MasterTransaction,
  tenantId: string,
  nameOrId: string,
): Promise<string> => {
  const wanted = nameOrId.trim()
  const role = await trx
    .selectFrom('roles')
    .select('id')
    .where((w) => w.or([w('tenant_id', 'is', null), w('tenant_id', '=', tenantId)]))
    .where(isUuid(wanted) ? 'id' : 'name', '=', wanted)
    // Should a tenant's own role be called like a system role, the name means the one that everybody knows.
    .orderBy(sql`tenant_id is not null`)
    .executeTakeFirst()
  if (role === undefined) throw new AppError('not_found', 'The tenant has no role of this name or id.')
  return role.id
}

/** Makes a person a member. False when they are one already, whatever their status. */
export const insertMember = async (
  trx: MasterTransaction,
  member: { tenantId: string; personId: string; roleId: string },
): Promise<boolean> => {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('memberships')
    .values({ tenant_id: member.tenantId, person_id: member.personId, role_id: member.roleId })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return numInsertedOrUpdatedRows === 1n
}

export const updateMember = async (
  trx: MasterTransaction,
  { tenantId, personId }: { tenantId: string; personId: string },
  change: { role_id?: string; status?: MemberStatus },
): Promise<void> => {
  await trx
    .updateTable('memberships')
    .set({ ...change, updated_at: sql<Date>`now()` })
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .execute()
}

/** Takes a person out of a tenant, and the tenant out of their sessions: a refresh must not bring it back. */
export const deleteMember = async (
  trx: MasterTransaction,
  { tenantId, personId }: { tenantId: string; personId: string },
): Promise<void> => {
  await trx
    .deleteFrom('memberships')
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .execute()
  await trx
    .updateTable('sessions')
    .set({ tenant_id: null })
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .execute()
}

/** True for an Admin who can act: without one a tenant could not be kept any more. */
export const countsAsAdmin = ({ is_admin, status, disabled_at }: Member): boolean =>
  is_admin && status === 'active' && disabled_at === null

/**
 * Throws `last_admin` when the tenant has no Admin left who can act: an active person, not disabled, with the system role.
 * Call it after the change, under the tenant's lock. Whoever disables the one it finds waits for the transaction's end.
 */
export const mustKeepAnAdmin = async (trx: MasterTransaction, tenantId: string): Promise<void> => {
  const admin = await trx
    .selectFrom('memberships')
    .innerJoin('people', 'people.id', 'memberships.person_id')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .select('people.id')
    .where('memberships.tenant_id', '=', tenantId)
    .where('memberships.status', '=', 'active')
    .where('roles.tenant_id', 'is', null)
    .where('roles.name', '=', 'Admin')
    .where('people.kind', '=', 'person')
    .where('people.disabled_at', 'is', null)
    .limit(1)
    .forShare('people')
    .executeTakeFirst()
  if (admin !== undefined) return
  throw new AppError('last_admin', 'This is the last Admin of the tenant; make somebody else an Admin first.')
}
