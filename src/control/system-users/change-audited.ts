import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { tenantsConcerned } from '../../master/system-users.ts'
import type { ControlDeps } from '../control-deps.ts'

export const nothing = (): AppError => new AppError('not_found', 'There is no system user with this id.')

type Request = Parameters<typeof identityOf>[0]

export const audit = (
  trx: MasterTransaction,
  request: Request,
  action: string,
  { id, tenantId }: { id: string; tenantId: string | null },
): Promise<void> =>
  writeMasterAudit(trx, {
    actor: { kind: 'platform_admin', id: identityOf(request).personId },
    action: `system_user.${action}`,
    entity: { type: 'system_user', id },
    tenantId,
    caller: callerOf(request),
  })

/**
 * Runs the change and writes an entry for each tenant it concerns (`tenantId`; by default all in which the system user works),
 * in one transaction; a change that answers undefined met no system user.
 */
export const changeAudited = async <T>(
  deps: ControlDeps,
  request: Request,
  { action, id, tenantId }: { action: string; id: string; tenantId?: string },
  change: (trx: MasterTransaction) => Promise<T | undefined>,
): Promise<T> => {
  const result = await deps.db.transaction().execute(async (trx) => {
    const concerned = tenantId === undefined ? await tenantsConcerned(trx, id) : [tenantId]
    const changed = await change(trx)
    if (changed === undefined) throw nothing()
    for (const concernedId of concerned) await audit(trx, request, action, { id, tenantId: concernedId })
    return changed
  })
  deps.grants.forget(`person:${id}`)
  return result
}
