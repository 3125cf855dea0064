import type { MasterTransaction } from '../../master/master.ts'
import type { Plan } from '../../master/plans.ts'

/**
 * Payment, for a product that takes money: there is none in Freehold, so `ControlDeps` has no `billing` and every plan that
 * may be chosen costs nothing. Whoever adds it hands one in (`src/app.ts`), and changes subscriptions by the functions of
 * `subscription.ts` when money comes or fails to.
 */
export type Billing = {
  /**
   * Asked before a tenant takes a plan that its Admin has chosen, outside of a trial, in the transaction of the change and
   * under the tenant's lock. Answers until when it is paid (null: without an end), or throws what the Admin shall read.
   */
  paidUntil(
    trx: MasterTransaction,
    wanted: { tenantId: string; plan: Plan; personId: string },
  ): Promise<Date | null>
}
