import type { PaidUntil } from '../../master/subscriptions.ts'

/**
 * Payment, for a product that takes money: there is none in Freehold, so `ControlDeps` has no `billing` and every plan that
 * may be chosen costs nothing. Whoever adds it hands one in (`src/app.ts`), and changes subscriptions by the functions of
 * `subscription.ts` when money comes or fails to.
 */
export type Billing = {
  /**
   * Asked before a tenant takes a plan that its Admin has chosen, outside of a trial: under the tenant's lock, or in the
   * transaction that creates the tenant.
   */
  readonly paidUntil: PaidUntil
}
