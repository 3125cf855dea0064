import { sql } from 'kysely'
import type { MemberScope } from '../../http/guards.ts'
import { AppError } from '../../kernel/errors.ts'
import { type MasterAuditEntry, writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findTenantPlan } from '../../master/plans.ts'
import { isUniqueViolation } from '../../master/postgres-errors.ts'
import type { ControlDeps } from '../control-deps.ts'
import { inLockedTenant } from '../members/flows.ts'
import { mustBeStorable } from './free-form.ts'
import type { TenantSettings } from './tenant-view.ts'

/** How a tenant shows itself: what the master keeps of it and may change. */
export type FaceChange = { name?: string; logoUrl?: string | null; slug?: string }

/** Changes what is given, with its audit entry. Throws `slug_taken`. */
export const changeFace = async (
  trx: MasterTransaction,
  id: string,
  { name, logoUrl, slug }: FaceChange,
  by: Pick<MasterAuditEntry, 'actor' | 'caller'>,
): Promise<void> => {
  try {
    await trx
      .updateTable('tenants')
      .set({
        ...(name === undefined ? {} : { name: name.trim() }),
        ...(logoUrl === undefined ? {} : { logo_url: logoUrl }),
        ...(slug === undefined ? {} : { slug }),
        updated_at: sql<Date>`now()`,
      })
      .where('id', '=', id)
      .execute()
  } catch (error) {
    if (!isUniqueViolation(error, 'tenants_slug_key')) throw error
    throw new AppError('slug_taken', `The slug ${slug} is taken. Choose another one.`, { cause: error })
  }
  await writeMasterAudit(trx, {
    actor: by.actor,
    ...(by.caller && { caller: by.caller }),
    action: 'tenant.updated',
    entity: { type: 'tenant', id },
    tenantId: id,
  })
}

type Who = Pick<MemberScope, 'tenantId' | 'personId' | 'actor' | 'caller'>

/**
 * Changes a tenant for a member who may. Two databases can't commit together: the tenant's own comes first, as it is the one
 * that can be away. Killed in between, settings are new and the name is old, both with their audit entries; nobody was
 * answered, and the same request again ends in what was asked for.
 */
export const changeTenant = async (
  deps: Pick<ControlDeps, 'db' | 'grants' | 'writeSettings'>,
  who: Who,
  change: FaceChange & Partial<TenantSettings>,
): Promise<void> => {
  const { settings, metadata, ...face } = change
  if (settings !== undefined) mustBeStorable(settings, '/settings')
  if (metadata !== undefined) mustBeStorable(metadata, '/metadata')
  // Asked under the lock first: who has lost the right changes nothing on either side.
  const writesInside = settings !== undefined || metadata !== undefined
  await inLockedTenant(deps.db, who, 'tenant-api:tenant:update', async (trx) => {
    const { readOnly } = (writesInside && (await findTenantPlan(trx, who.tenantId))) || {}
    if (readOnly !== undefined) throw readOnly
  })
  if (writesInside) {
    const kept = { ...(settings && { settings }), ...(metadata && { metadata }) }
    await deps.writeSettings(who.tenantId, who, kept)
  }
  if (Object.keys(face).length > 0) {
    await inLockedTenant(deps.db, who, 'tenant-api:tenant:update', (trx) =>
      changeFace(trx, who.tenantId, face, who),
    )
  }
  deps.grants.forget(`tenant:${who.tenantId}`)
}
