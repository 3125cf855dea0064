import type { MasterTransaction } from '../../master/master.ts'

/**
 * Called with the tenant's row locked, before somebody becomes an active member. No plan limits seats yet; one that does
 * throws `plan_limit_reached` here.
 */
export const assertSeat = async (_trx: MasterTransaction, _tenantId: string): Promise<void> => {}
