import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { defaultPlan } from '../master/plans.ts'
import { beginSubscription, findOffer, type PaidUntil } from '../master/subscriptions.ts'
import type { NewTenant, TenantRow } from './create-tenant.ts'
import type { TenantManager } from './tenant-manager.ts'

/** Whoever creates a tenant chooses among other plans, and may have to pay. */
export type Chooser = Readonly<
  { chosenBy: 'platform' } | { chosenBy: 'self'; paidUntil: PaidUntil | undefined }
>

/**
 * Creates a tenant on the plan that was asked for, with its trial, or on the default one, which costs no look-up. In the
 * caller's transaction when `db` is one. Throws as `createTenant` does, and `validation_failed` for a plan that may not be
 * chosen.
 */
export const createOnPlan = async (
  manager: Pick<TenantManager, 'createTenant'>,
  db: MasterDb,
  chooser: Chooser,
  { plan: key, ...wanted }: Omit<NewTenant, 'plan'> & { plan: string | undefined },
): Promise<TenantRow> => {
  if (key === undefined) return manager.createTenant(db, { ...wanted, plan: defaultPlan })
  const create = async (trx: MasterTransaction): Promise<TenantRow> => {
    const plan = await findOffer(trx, key, chooser.chosenBy)
    const tenant = await manager.createTenant(trx, { ...wanted, plan: key })
    const by = wanted.by.actor.id
    const paid = chooser.chosenBy === 'self' ? chooser.paidUntil : undefined
    await beginSubscription(trx, { tenantId: tenant.id, plan, by }, paid)
    return tenant
  }
  return db.isTransaction ? create(db as MasterTransaction) : db.transaction().execute(create)
}
