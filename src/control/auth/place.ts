import type { Grants } from '../../access/grants.ts'
import { AppError } from '../../kernel/errors.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import type { MasterDb } from '../../master/master.ts'
import { findMyTenant, type MemberTenant } from '../../master/memberships.ts'
import { type ReadTenantSettings, type TenantView, toTenantView } from '../tenants/tenant-view.ts'

/** Where a session stands: the chosen tenant and what its person may do there. */
export type Place = { tenant: TenantView | null; role: string | null; permissions: string[] }

export const nowhere: Place = { tenant: null, role: null, permissions: [] }

type Deps = { db: MasterDb; grants: Grants; readSettings: ReadTenantSettings }

/** The place a tenant is for this person; `nowhere` when they are no active member or it can't be worked in. */
export const placeIn = async (
  deps: Deps,
  personId: string,
  tenant: Omit<MemberTenant, 'role'> | undefined,
): Promise<Place> => {
  if (tenant === undefined || tenant.status !== 'active') return nowhere
  const grant = await deps.grants.grant(tenant.id, personId)
  if (grant === undefined) return nowhere
  return {
    tenant: toTenantView(tenant, await deps.readSettings(tenant.id)),
    role: grant.role,
    permissions: [...grant.permissions],
  }
}

/** What was found of a person's tenants, if it can be entered; throws what stands in the way. */
export const mustBeEnterable = (tenant: MemberTenant | undefined): MemberTenant => {
  if (tenant === undefined) throw new AppError('not_found', 'You have no tenant with this id or slug.')
  const closed = refusalOfStatus(tenant.status)
  if (closed !== undefined) throw closed
  return tenant
}

/** The person's tenant by id or slug, ready to be entered; throws what stands in the way. */
export const findEnterableTenant = async (
  db: MasterDb,
  personId: string,
  idOrSlug: string,
): Promise<MemberTenant> => mustBeEnterable(await findMyTenant(db, personId, idOrSlug))
