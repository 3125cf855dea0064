import { sql } from 'kysely'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

const rows = (db: MasterDb) =>
  db
    .selectFrom('system_users')
    .innerJoin('people', 'people.id', 'system_users.id')
    .select([
      'people.id',
      'people.first_name',
      'people.email',
      'people.disabled_at',
      'people.created_at',
      'system_users.service_type',
      'system_users.metadata',
      'system_users.last_used_at',
    ])

type Row = Awaited<ReturnType<ReturnType<typeof rows>['executeTakeFirstOrThrow']>>
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

/** System users, newest first, and one more than `limit` when there are more. */
export const listSystemUsers = async (
  db: MasterDb,
  page: { limit: number; after: string | undefined },
): Promise<SystemUser[]> =>
  withSecrets(
    db,
    await rows(db)
      .$if(page.after !== undefined, (query) => query.where('people.id', '<', page.after ?? ''))
      .orderBy('people.id', 'desc')
      .limit(page.limit + 1)
      .execute(),
  )

export const findSystemUser = async (db: MasterDb, id: string): Promise<SystemUser | undefined> =>
  (await withSecrets(db, await rows(db).where('people.id', '=', id).execute()))[0]

export type SystemUserChange = {
  name?: string
  serviceType?: string
  metadata?: Record<string, string>
  disabled?: boolean
}

/** Changes what is given; false when there is no such system user. */
export const changeSystemUser = async (
  trx: MasterTransaction,
  id: string,
  { name, serviceType, metadata, disabled }: SystemUserChange,
): Promise<boolean> => {
  const { numUpdatedRows } = await trx
    .updateTable('people')
    .set({
      updated_at: sql<Date>`now()`,
      ...(name === undefined ? {} : { first_name: name.trim() }),
      ...(disabled === undefined
        ? {}
        : { disabled_at: disabled ? sql<Date>`coalesce(disabled_at, now())` : null }),
    })
    .where('id', '=', id)
    .where('kind', '=', 'system')
    .executeTakeFirst()
  if (numUpdatedRows === 0n) return false
  if (serviceType !== undefined || metadata !== undefined) {
    await trx
      .updateTable('system_users')
      .set({
        ...(serviceType === undefined ? {} : { service_type: serviceType.trim() }),
        ...(metadata === undefined ? {} : { metadata }),
      })
      .where('id', '=', id)
      .execute()
  }
  return true
}

/** Gives it a role in a tenant, or another one. False when the tenant has no role of this name. */
export const setSystemUserRole = async (
  trx: MasterTransaction,
  member: { id: string; tenantId: string; role: string },
): Promise<boolean> => {
  const role = await trx
    .selectFrom('roles')
    .select('id')
    .where('name', '=', member.role.trim())
    .where((w) => w.or([w('tenant_id', 'is', null), w('tenant_id', '=', member.tenantId)]))
    .orderBy(sql`tenant_id is null`)
    .executeTakeFirst()
  if (role === undefined) return false
  await trx
    .insertInto('memberships')
    .values({ tenant_id: member.tenantId, person_id: member.id, role_id: role.id })
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'person_id'])
        .doUpdateSet({ role_id: role.id, status: 'active', updated_at: sql<Date>`now()` }),
    )
    .execute()
  return true
}
