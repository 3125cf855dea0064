import { sql } from 'kysely'
import type { Caller } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { lockTenant } from '../../master/tenants.ts'
import { enqueue } from '../../queue/enqueue.ts'
import { enqueueProvision } from '../../tenant-manager/create-tenant.ts'
import type { ControlDeps } from '../control-deps.ts'

type Deps = Pick<ControlDeps, 'db' | 'grants'>
export type By = Pick<MasterAuditEntry, 'actor'> & { caller: Caller }
type Tenant = NonNullable<Awaited<ReturnType<typeof lockTenant>>>
export type Deleted = { id: string; status: 'deleted'; purgeAfter: string }

const noTenant = (): AppError => new AppError('not_found', 'There is no tenant with this id or slug.')

const audit = (trx: MasterTransaction, id: string, action: string, by: By): Promise<void> =>
  writeMasterAudit(trx, {
    actor: by.actor,
    caller: by.caller,
    action: `tenant.${action}`,
    entity: { type: 'tenant', id },
    tenantId: id,
  })

/** Changes the row of a tenant under its lock; every node hears of it, this one at once. */
const change = async <T>(
  deps: Deps,
  id: string,
  work: (trx: MasterTransaction, tenant: Tenant) => Promise<T>,
): Promise<T> => {
  const result = await deps.db.transaction().execute(async (trx) => {
    const tenant = await lockTenant(trx, id)
    if (tenant === undefined) throw noTenant()
    return work(trx, tenant)
  })
  deps.grants.forget(`tenant:${id}`)
  return result
}

type Values = {
  status?: Tenant['status']
  purge_after?: ReturnType<typeof sql<Date>> | null
  deleted_at?: ReturnType<typeof sql<Date>> | null
  restore_to?: 'pending' | 'active' | 'suspended' | null
}

const set = (trx: MasterTransaction, id: string, values: Values) =>
  trx
    .updateTable('tenants')
    .set({ ...values, updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .returning('purge_after')
    .executeTakeFirstOrThrow()

const enqueuePurge = (trx: MasterTransaction): Promise<void> =>
  enqueue(trx, 'purge-tenants', {}, { jobKey: 'purge-tenants', queue: 'purge-tenants' })

/**
 * Deletes a tenant: from now on nobody gets in, and after `graceDays` it is erased. Deleting it again changes nothing and
 * answers the same; with 0 days the erasure begins at once. `mayStill` runs under the lock and throws for who may not.
 */
export const deleteTenant = (
  deps: Deps,
  id: string,
  by: By,
  graceDays: number,
  mayStill: (trx: MasterTransaction, tenant: Tenant) => Promise<void> = async () => {},
): Promise<Deleted> =>
  change(deps, id, async (trx, tenant) => {
    await mayStill(trx, tenant)
    const end = sql<Date>`now() + make_interval(days => ${graceDays})`
    let purgeAfter = tenant.purge_after
    if (tenant.status !== 'deleted') {
      const deleted = { status: 'deleted', restore_to: tenant.status } as const
      const row = await set(trx, id, { ...deleted, deleted_at: sql<Date>`now()`, purge_after: end })
      purgeAfter = row.purge_after
      await trx.updateTable('sessions').set({ tenant_id: null }).where('tenant_id', '=', id).execute()
      await audit(trx, id, 'deleted', by)
    } else if (graceDays === 0) {
      purgeAfter = (await set(trx, id, { purge_after: end })).purge_after
      await audit(trx, id, 'purge_ordered', by)
    }
    if (purgeAfter === null) throw new Error('a deleted tenant has no end of its grace')
    if (graceDays === 0) await enqueuePurge(trx)
    return { id, status: 'deleted', purgeAfter: purgeAfter.toISOString() }
  })

/** Takes a deletion back, as long as nothing was erased: the tenant is what it was before. Throws `conflict` and `gone`. */
export const restoreTenant = (deps: Deps, id: string, by: By): Promise<void> =>
  change(deps, id, async (trx, { status, restore_to }) => {
    if (status !== 'deleted') throw new AppError('conflict', 'This tenant is not deleted.')
    const before = restore_to ?? 'active'
    const erasing = await trx
      .selectFrom('erasures')
      .select('id')
      .where('tenant_id', '=', id)
      .executeTakeFirst()
    if (erasing !== undefined) throw new AppError('gone', 'The grace is over: this tenant is being erased.')
    await set(trx, id, { status: before, restore_to: null, purge_after: null, deleted_at: null })
    await audit(trx, id, 'restored', by)
    if (before === 'pending') await enqueueProvision(trx, id)
  })

/** Keeps everybody out until it is resumed. Doing it again changes nothing. */
export const suspendTenant = (deps: Deps, id: string, by: By): Promise<void> =>
  move(deps, id, by, ['active', 'suspended', 'suspended'])

export const resumeTenant = (deps: Deps, id: string, by: By): Promise<void> =>
  move(deps, id, by, ['suspended', 'active', 'resumed'])

const move = (
  deps: Deps,
  id: string,
  by: By,
  [from, to, action]: readonly ['active' | 'suspended', 'active' | 'suspended', string],
): Promise<void> =>
  change(deps, id, async (trx, { status }) => {
    if (status === to) return
    if (status !== from) throw refusalOfStatus(status)
    await set(trx, id, { status: to })
    await audit(trx, id, action, by)
  })
