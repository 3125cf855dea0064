import { sql } from 'kysely'
import { isUuid } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'

const rows = (db: MasterDb) =>
  db
    .selectFrom('system_users')
    .innerJoin('people', 'people.id', 'system_users.id')
    // One that a tenant keeps is a member there and nowhere else.
    .leftJoin('memberships', (join) =>
      join
        .onRef('memberships.person_id', '=', 'people.id')
        .onRef('memberships.tenant_id', '=', 'system_users.tenant_id'),
    )
    .leftJoin('roles', 'roles.id', 'memberships.role_id')
    .select([
      'people.id',
      'people.first_name',
      'people.email',
      'people.disabled_at',
      'people.created_at',
      'system_users.service_type',
      'system_users.metadata',
      'system_users.last_used_at',
      'system_users.tenant_id',
      'roles.id as role_id',
      'roles.name as role',
    ])

type Row = Awaited<ReturnType<ReturnType<typeof rows>['executeTakeFirstOrThrow']>>
/** `tenant_id`: the tenant that keeps it, with its role there; null for the platform's own. */
export type SystemUser = Row & { secrets: { created_at: Date; expires_at: Date | null }[] }

const withSecrets = async (db: MasterDb, found: Row[]): Promise<SystemUser[]> => {
  if (found.length === 0) return []
  const secrets = await db
    .selectFrom('system_user_secrets')
    .select(['system_user_id', 'created_at', 'expires_at'])
    .where(
      'system_user_id',
      'in',
      found.map(({ id }) => id),
    )
    .orderBy('id', 'desc')
    .execute()
  const byUser = Map.groupBy(secrets, (secret) => secret.system_user_id)
  return found.map((row) => ({ ...row, secrets: byUser.get(row.id) ?? [] }))
}

/** All, or those that one tenant keeps. */
const keptBy = (db: MasterDb, tenantId: string | undefined) =>
  rows(db).$if(tenantId !== undefined, (query) => query.where('system_users.tenant_id', '=', tenantId ?? ''))

/** System users, newest first, and one more than `limit` when there are more. With `tenantId` only those it keeps. */
export const listSystemUsers = async (
  db: MasterDb,
  page: { limit: number; after: string | undefined },
  tenantId?: string,
): Promise<SystemUser[]> =>
  withSecrets(
    db,
    await keptBy(db, tenantId)
      .$if(page.after !== undefined, (query) => query.where('people.id', '<', page.after ?? ''))
      .orderBy('people.id', 'desc')
      .limit(page.limit + 1)
      .execute(),
  )

/** Undefined when there is none with this id, or with `tenantId` when that tenant does not keep it. */
export const findSystemUser = async (
  db: MasterDb,
  id: string,
  tenantId?: string,
): Promise<SystemUser | undefined> =>
  (await withSecrets(db, await keptBy(db, tenantId).where('people.id', '=', id).execute()))[0]

/** The same by its email address, for operators. */
export const findSystemUserByEmail = async (db: MasterDb, email: string): Promise<SystemUser | undefined> =>
  (await withSecrets(db, await rows(db).where('people.email', '=', email).execute()))[0]

/** The tenant's role by its id or name, its own before a system role of that name; undefined when it sees no such role. */
export const findRole = (
  trx: MasterTransaction,
  tenantId: string,
  idOrName: string,
): Promise<{ id: string; name: string } | undefined> =>
  trx
    .selectFrom('roles')
    .select(['id', 'name'])
    .where(isUuid(idOrName) ? 'id' : 'name', '=', idOrName.trim())
    .where((w) => w.or([w('tenant_id', 'is', null), w('tenant_id', '=', tenantId)]))
    .orderBy(sql`tenant_id is null`)
    .executeTakeFirst()

/** Gives the system user a role in the tenant, or another one; false when it has that one already. */
export const putMembership = async (
  trx: MasterTransaction,
  member: { id: string; tenantId: string; roleId: string },
): Promise<boolean> => {
  const changed = await trx
    .insertInto('memberships')
    .values({ tenant_id: member.tenantId, person_id: member.id, role_id: member.roleId })
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'person_id'])
        .doUpdateSet({ role_id: member.roleId, status: 'active', updated_at: sql<Date>`now()` })
        .where((w) =>
          w.or([w('memberships.role_id', '<>', member.roleId), w('memberships.status', '<>', 'active')]),
        ),
    )
    .returning('person_id')
    .executeTakeFirst()
  return changed !== undefined
}

/** The tenants that what happens to a system user concerns: those in which it is a member, or null when there is none. */
export const tenantsConcerned = async (db: MasterDb, id: string): Promise<(string | null)[]> => {
  const rows = await db
    .selectFrom('memberships')
    .select('tenant_id')
    .where('person_id', '=', id)
    .orderBy('tenant_id')
    .execute()
  return rows.length === 0 ? [null] : rows.map((row) => row.tenant_id)
}
