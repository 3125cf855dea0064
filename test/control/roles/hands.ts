import type { Freehold, Member } from '../../helpers/freehold.ts'

/** Roles and policies through the API, and members who have them. */
export const accessHands = ({ call, join, service }: Freehold) => {
  let count = 0
  const create = async (token: string, path: string, body: object): Promise<string> => {
    count += 1
    const answer = await call('POST', path, { token, body: { name: `N ${count}`, ...body } })
    if (answer.status !== 201) throw new Error(`expected 201, got ${answer.status}: ${answer.text}`)
    return String(answer.body.id)
  }
  const newPolicy = (token: string, permissions: readonly string[] = []) =>
    create(token, '/api/policies', { permissions })
  const newRole = (token: string, policies: readonly string[] = []) =>
    create(token, '/api/roles', { policies })
  const setRole = async (member: Member, roleId: string): Promise<void> => {
    await service.master.db
      .updateTable('memberships')
      .set({ role_id: roleId })
      .where('person_id', '=', member.personId)
      .where('tenant_id', '=', member.tenantId)
      .execute()
    service.grants.forget(`membership:${member.tenantId}:${member.personId}`)
  }
  /** A new member of the admin's tenant who holds exactly this, by a role with one policy. */
  const joinHolding = async (admin: Member, permissions: readonly string[]) => {
    const policyId = await newPolicy(admin.token, permissions)
    const roleId = await newRole(admin.token, [policyId])
    const member = await join(admin, 'Basic')
    await setRole(member, roleId)
    return { ...member, policyId, roleId }
  }
  return { create, newPolicy, newRole, setRole, joinHolding }
}
