import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { systemRoles } from './catalogue.ts'

const upsertNamed = async (
  trx: MasterTransaction,
  table: 'roles' | 'policies',
  name: string,
  description: string,
): Promise<string> => {
  const row = await trx
    .insertInto(table)
    .values({ id: newId(), tenant_id: null, name, description })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name']).doUpdateSet({ description }))
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** Replaces the policy's permissions, but writes nothing when they already are as they should be. */
const setPermissions = async (
  trx: MasterTransaction,
  policyId: string,
  permissions: readonly string[],
): Promise<void> => {
  const rows = await trx
    .selectFrom('policy_permissions')
    .select('permission')
    .where('policy_id', '=', policyId)
    .execute()
  const present = new Set(rows.map((row) => row.permission))
  const missing = permissions.filter((permission) => !present.has(permission))
  const extra = [...present].filter((permission) => !permissions.includes(permission))
  if (missing.length > 0) {
    await trx
      .insertInto('policy_permissions')
      .values(missing.map((permission) => ({ policy_id: policyId, permission })))
      .execute()
  }
  if (extra.length > 0) {
    await trx
      .deleteFrom('policy_permissions')
      .where('policy_id', '=', policyId)
      .where('permission', 'in', extra)
      .execute()
  }
}

/**
 * Makes the system roles in the master what the catalogue says: one role and one policy of the same name each. Runs at
 * every start after the migrations, in one transaction; nodes that start at once wait for each other.
 */
export const syncSystemRoles = (db: MasterDb): Promise<void> =>
  db.transaction().execute(async (trx) => {
    // Waits for another node's sync but lets requests read on.
    await trx.selectFrom('installation').select('id').forUpdate().execute()
    for (const role of systemRoles) {
      const roleId = await upsertNamed(trx, 'roles', role.name, role.description)
      const policyId = await upsertNamed(trx, 'policies', role.name, role.description)
      await trx
        .insertInto('role_policies')
        .values({ role_id: roleId, policy_id: policyId })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      // What it had before a release gave its name to a shipped role.
      await trx
        .deleteFrom('role_policies')
        .where('role_id', '=', roleId)
        .where('policy_id', '<>', policyId)
        .execute()
      await setPermissions(trx, policyId, role.permissions)
    }
  })
