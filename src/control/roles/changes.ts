import { lockAccess, mustHold, readHoldings } from '../../access/granting.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import type { ControlDeps } from '../control-deps.ts'
import type { Editor } from './editor.ts'

/** A change of roles and policies under way: nobody else changes them, or gives a role away, until it is committed. */
export type AccessChange = {
  readonly trx: MasterTransaction
  readonly tenantId: string | null
  /** Throws `forbidden` unless the editor held, before this change, everything that `patterns` grant. */
  mustHold(patterns: readonly string[]): void
  audit(
    action: string,
    entity: { type: 'role' | 'policy'; id: string },
    details?: Record<string, string>,
  ): Promise<void>
}

/** Runs `work` in one transaction, alone in this tenant (or everywhere), and makes every node forget what it changed. */
export const changeAccess = async <T>(
  deps: Pick<ControlDeps, 'db' | 'grants'>,
  { tenantId, personId, actor, caller }: Editor,
  work: (change: AccessChange) => Promise<T>,
): Promise<T> => {
  const result = await deps.db.transaction().execute(async (trx) => {
    await lockAccess(trx, tenantId)
    // Before the change: whoever adds to their own role would hold it afterwards. Platform admins hold everything.
    const holdings = tenantId === null ? undefined : await readHoldings(trx, { tenantId, personId })
    return work({
      trx,
      tenantId,
      mustHold: (patterns) => {
        if (holdings !== undefined) mustHold(holdings, patterns)
      },
      audit: (action, entity, details) =>
        writeMasterAudit(trx, { actor, action, entity, tenantId, caller, ...(details && { details }) }),
    })
  })
  deps.grants.forget(tenantId === null ? 'access' : `access:${tenantId}`)
  return result
}
