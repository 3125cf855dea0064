import type { Service } from '../../src/service.ts'

/** A role of the tenant's own with these permissions, made behind the API's back. Answers its id. */
export const ownRole = async (
  { master: { db } }: Service,
  tenantId: string,
  name: string,
  permissions: readonly string[],
): Promise<string> => {
  const [role, policy] = [crypto.randomUUID(), crypto.randomUUID()]
  await db.insertInto('roles').values({ id: role, tenant_id: tenantId, name }).execute()
  await db.insertInto('policies').values({ id: policy, tenant_id: tenantId, name }).execute()
  await db.insertInto('role_policies').values({ role_id: role, policy_id: policy }).execute()
  await db
    .insertInto('policy_permissions')
    .values(permissions.map((permission) => ({ policy_id: policy, permission })))
    .execute()
  return role
}
