import type { Letter } from '../../mail/letters.ts'
import type { MasterTransaction } from '../../master/master.ts'
import type { ControlDeps } from '../control-deps.ts'
import { enqueueMail } from '../mail.ts'

/** Sends a letter to every Admin of a tenant who can act, when this transaction commits. */
export const mailAdmins = async (
  trx: MasterTransaction,
  { box }: Pick<ControlDeps, 'box'>,
  tenantId: string,
  letter: Letter,
): Promise<void> => {
  const admins = await trx
    .selectFrom('memberships')
    .innerJoin('people', 'people.id', 'memberships.person_id')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .select('people.email')
    .where('memberships.tenant_id', '=', tenantId)
    .where('memberships.status', '=', 'active')
    .where('roles.name', '=', 'Admin')
    .where('roles.tenant_id', 'is', null)
    .where('people.kind', '=', 'person')
    .where('people.disabled_at', 'is', null)
    .execute()
  for (const { email } of admins) await enqueueMail(trx, box, { to: email, letter })
}
