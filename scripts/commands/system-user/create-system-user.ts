import { createSystemUser, rotateSystemSecret } from '../../../src/access/system-users.ts'
import { OperatorError } from '../../../src/kernel/errors.ts'
import { isUuid } from '../../../src/kernel/ids.ts'
import { writeMasterAudit } from '../../../src/master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../../src/master/master.ts'
import {
  findRole,
  findSystemUser,
  findSystemUserByEmail,
  putMembership,
  type SystemUser,
  tenantsConcerned,
} from '../../../src/master/system-users.ts'
import { findTenant } from '../../../src/master/tenants.ts'

export type SystemUserWishes = {
  name: string
  email: string
  serviceType: string
  tenant?: string
  role?: string
}

/** A system user and its new secret, which is nowhere else. */
export type WithSecret = { row: SystemUser; clientSecret: string }

const audit = (
  trx: MasterTransaction,
  action: string,
  id: string,
  tenantId: string | null,
): Promise<void> => {
  const entity = { type: 'system_user', id }
  return writeMasterAudit(trx, {
    actor: { kind: 'operator', id: null },
    action: `system_user.${action}`,
    entity,
    tenantId,
  })
}

const present = (row: SystemUser | undefined): SystemUser => {
  if (row === undefined) {
    throw new OperatorError('there is no such system user; freehold system-user list shows them')
  }
  return row
}

const letIn = async (trx: MasterTransaction, id: string, tenant: string, role: string): Promise<void> => {
  const found = await findTenant(trx, tenant)
  if (found === undefined)
    throw new OperatorError(`there is no tenant ${tenant}; freehold tenant list shows them`)
  const roleRow = await findRole(trx, found.id, role)
  if (roleRow === undefined) throw new OperatorError(`the tenant ${tenant} has no role ${role}`)
  await putMembership(trx, { id, tenantId: found.id, roleId: roleRow.id })
  await audit(trx, 'role_set', id, found.id)
}

/** Creates a system user of the platform, and lets it into a tenant if that is wished. */
export const createSystemUserFor = (db: MasterDb, wishes: SystemUserWishes): Promise<WithSecret> =>
  db.transaction().execute(async (trx) => {
    const { tenant, role, ...fields } = wishes
    const { id, clientSecret } = await createSystemUser(trx, { ...fields, tenantId: null })
    await audit(trx, 'created', id, null)
    if (tenant !== undefined && role !== undefined) await letIn(trx, id, tenant, role)
    return { row: present(await findSystemUser(trx, id)), clientSecret }
  })

/** Gives it a new secret; the ones before are good for `graceDays` more. */
export const rotateSecretOf = (db: MasterDb, idOrEmail: string, graceDays: number): Promise<WithSecret> =>
  db.transaction().execute(async (trx) => {
    const find = isUuid(idOrEmail) ? findSystemUser : findSystemUserByEmail
    const row = present(await find(trx, idOrEmail))
    const clientSecret = await rotateSystemSecret(trx, row.id, graceDays)
    if (clientSecret === undefined) throw new OperatorError('the system user was deleted meanwhile')
    for (const tenantId of await tenantsConcerned(trx, row.id)) {
      await audit(trx, 'secret_rotated', row.id, tenantId)
    }
    return { row, clientSecret }
  })
