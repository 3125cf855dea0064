import { sql } from 'kysely'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

/** How many have each of these roles, in one tenant or (null) in all. */
export const countMembers = async (
  db: MasterDb,
  tenantId: string | null,
  roleIds: readonly string[],
): Promise<Map<string, number>> => {
  const rows = await db
    .selectFrom('memberships')
    .select(['role_id', (w) => w.fn.countAll<string>().as('members')])
    .where('role_id', 'in', roleIds)
    .$if(tenantId !== null, (query) => query.where('tenant_id', '=', tenantId ?? ''))
    .groupBy('role_id')
    .execute()
  return new Map(rows.map(({ role_id, members }) => [role_id, Number(members)]))
}

/** How many invitations that can still be accepted give this role. */
export const countInvited = async (db: MasterDb, roleId: string): Promise<number> => {
  const { invited } = await db
    .selectFrom('invitations')
    .select((w) => w.fn.countAll<string>().as('invited'))
    .where('role_id', '=', roleId)
    .where('status', '=', 'open')
    .where('expires_at', '>', sql<Date>`now()`)
    .executeTakeFirstOrThrow()
  return Number(invited)
}

/** The policies of these roles, by name, each with what it holds. */
export const policiesOfRoles = (db: MasterDb, roleIds: readonly string[]) =>
  db
    .selectFrom('role_policies')
    .innerJoin('policies', 'policies.id', 'role_policies.policy_id')
    .leftJoin('policy_permissions', 'policy_permissions.policy_id', 'policies.id')
    .select([
      'role_policies.role_id',
      'policies.id',
      'policies.name',
      (w) => w.fn.agg<(string | null)[]>('array_agg', ['policy_permissions.permission']).as('patterns'),
    ])
    .where('role_policies.role_id', 'in', roleIds)
    .groupBy(['role_policies.role_id', 'policies.id', 'policies.name'])
    .orderBy('policies.name')
    .execute()

/** What these policies hold, sorted. */
export const permissionsOfPolicies = (db: MasterDb, policyIds: readonly string[]) =>
  db
    .selectFrom('policy_permissions')
    .select(['policy_id', 'permission'])
    .where('policy_id', 'in', policyIds)
    .orderBy('permission')
    .execute()

export const rolesOfPolicy = async (db: MasterDb, policyId: string): Promise<string[]> => {
  const rows = await db
    .selectFrom('role_policies')
    .select('role_id')
    .where('policy_id', '=', policyId)
    .execute()
  return rows.map(({ role_id }) => role_id)
}

/** Answers how many are new to the role. */
export const addPolicies = async (
  trx: MasterTransaction,
  roleId: string,
  policyIds: readonly string[],
): Promise<number> => {
  if (policyIds.length === 0) return 0
  const { numInsertedOrUpdatedRows = 0n } = await trx
    .insertInto('role_policies')
    .values(policyIds.map((policyId) => ({ role_id: roleId, policy_id: policyId })))
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return Number(numInsertedOrUpdatedRows)
}

/** False when the role did not have it. */
export const removePolicy = async (
  trx: MasterTransaction,
  roleId: string,
  policyId: string,
): Promise<boolean> => {
  const { numDeletedRows } = await trx
    .deleteFrom('role_policies')
    .where('role_id', '=', roleId)
    .where('policy_id', '=', policyId)
    .executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}

/** Answers how many are new to the policy. */
export const addPermissions = async (
  trx: MasterTransaction,
  policyId: string,
  permissions: readonly string[],
): Promise<number> => {
  if (permissions.length === 0) return 0
  const { numInsertedOrUpdatedRows = 0n } = await trx
    .insertInto('policy_permissions')
    .values(permissions.map((permission) => ({ policy_id: policyId, permission })))
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return Number(numInsertedOrUpdatedRows)
}

/** False when the policy did not have it. */
export const removePermission = async (
  trx: MasterTransaction,
  policyId: string,
  permission: string,
): Promise<boolean> => {
  const { numDeletedRows } = await trx
    .deleteFrom('policy_permissions')
    .where('policy_id', '=', policyId)
    .where('permission', '=', permission)
    .executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}
