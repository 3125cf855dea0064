import type { Permission } from '../../access/catalogue.ts'
import { type Giver, readHoldings } from '../../access/granting.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterTransaction } from '../../master/master.ts'

/** Throws `forbidden` when they have lost the permission since the route let them in. Call it under the tenant's lock. */
export const mustStillHold = async (
  trx: MasterTransaction,
  who: Giver,
  permission: Permission,
): Promise<void> => {
  if ((await readHoldings(trx, who)).has(permission)) return
  throw new AppError('forbidden', `You do not have the permission ${permission} any more.`)
}
