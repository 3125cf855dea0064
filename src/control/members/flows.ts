import type { Permission } from '../../access/catalogue.ts'
import { mustHoldRole } from '../../access/granting.ts'
import type { Grants } from '../../access/grants.ts'
import type { MemberScope } from '../../http/guards.ts'
import { AppError } from '../../kernel/errors.ts'
import { refusalOfStatus } from '../../kernel/tenant-status.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findPersonByEmail } from '../../master/people.ts'
import { lockTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { cancelInvitationTo } from '../invitations/queries.ts'
import { mustStillHold } from './holding.ts'
import {
  countsAsAdmin,
  deleteMember,
  findMember,
  findRoleId,
  insertMember,
  type Member,
  type MemberStatus,
  mustKeepAnAdmin,
  updateMember,
} from './queries.ts'
import { assertSeat } from './seats.ts'

type Who = Pick<MemberScope, 'tenantId' | 'personId' | 'actor' | 'caller'>

export const nobody = (): AppError => new AppError('not_found', 'The tenant has no member with this id.')

/** Writes what happened to a member, with what they have now, or had until now. */
const auditMember = (
  trx: MasterTransaction,
  { tenantId, actor, caller }: Who,
  action: 'added' | 'updated' | 'removed' | 'left',
  { id, role, status }: Member,
): Promise<void> =>
  writeMasterAudit(trx, {
    ...{ tenantId, actor, caller },
    action: `member.${action}`,
    entity: { type: 'member', id },
    details: { role, status },
  })

/** Who has entered for an hour as a platform admin makes no member of themselves, which would outlast the hour. */
export const mustNotStay = ({ actor, personId }: Who, added: string): void => {
  if (actor.kind !== 'platform_admin' || added !== personId) return
  throw new AppError(
    'forbidden',
    'You have entered this tenant for a time; ask one of its Admins to add you.',
  )
}

const present = (member: Member | undefined): Member => {
  if (member === undefined) throw new Error('the member is not there')
  return member
}

/**
 * Does `work` with the tenant's row locked, for somebody who may still do it: what the route was told may be older than a
 * change that this transaction had to wait for. In the caller's transaction when `db` is one.
 */
export const inLockedTenant = <T>(
  db: MasterDb,
  who: Who,
  permission: Permission,
  work: (trx: MasterTransaction, tenant: NonNullable<Awaited<ReturnType<typeof lockTenant>>>) => Promise<T>,
): Promise<T> => {
  const run = async (trx: MasterTransaction): Promise<T> => {
    const tenant = await lockTenant(trx, who.tenantId)
    const closed = refusalOfStatus(tenant?.status ?? 'deleted')
    if (tenant === undefined || closed !== undefined) throw closed
    await mustStillHold(trx, who, permission)
    return work(trx, tenant)
  }
  return db.isTransaction ? run(db as MasterTransaction) : db.transaction().execute(run)
}

/**
 * Makes an existing person a member. Throws `already_member`; `not_found` for an address without an account, and for a
 * role that there is not; `forbidden` for a role that holds more than the caller does. In the caller's transaction when
 * `deps.db` is one; after the commit nodes must forget what they know of the membership.
 */
export const addMember = async (
  deps: Pick<ControlDeps, 'db' | 'verifyEmail'>,
  who: Who,
  { email, role }: { email: string; role: string },
): Promise<Member> => {
  const { tenantId } = who
  return inLockedTenant(deps.db, who, 'tenant-api:member:create', async (trx) => {
    const roleId = await findRoleId(trx, tenantId, role)
    await mustHoldRole(trx, who, roleId)
    const person = await findPersonByEmail(trx, email)
    // Where addresses are proved first, an account whose address is not proved may be anybody's.
    const unproved = deps.verifyEmail === 'before' && person?.email_verified_at === null
    if (person === undefined || person.disabled_at !== null || unproved) {
      throw new AppError(
        'not_found',
        'Nobody has an account with this address; send an invitation with POST /api/invitations instead.',
      )
    }
    const personId = person.id
    mustNotStay(who, personId)
    if (!(await insertMember(trx, { tenantId, personId, roleId }))) {
      throw new AppError('already_member', 'This person is a member of the tenant already.')
    }
    await assertSeat(trx, tenantId, 'taken')
    await cancelInvitationTo(trx, tenantId, person.email)
    const added = present(await findMember(trx, tenantId, personId))
    await auditMember(trx, who, 'added', added)
    return added
  })
}

type Deps = { db: MasterDb; grants: Grants }

/** A member whom the caller may change: throws `not_found`, and `forbidden` for one who holds more than the caller does. */
const findLesser = async (trx: MasterTransaction, who: Who, personId: string): Promise<Member> => {
  const member = await findMember(trx, who.tenantId, personId)
  if (member === undefined) throw nobody()
  await mustHoldRole(trx, who, member.role_id)
  return member
}

/** Changes a member's role or status. Throws `not_found`, `forbidden`, and `last_admin` when no Admin would be left. */
export const changeMember = async (
  deps: Deps,
  who: Who,
  personId: string,
  change: { role?: string; status?: MemberStatus },
): Promise<Member> => {
  const { tenantId } = who
  const member = await inLockedTenant(deps.db, who, 'tenant-api:member:update', async (trx) => {
    const before = await findLesser(trx, who, personId)
    const roleId = change.role === undefined ? undefined : await findRoleId(trx, tenantId, change.role)
    if (roleId !== undefined) await mustHoldRole(trx, who, roleId)
    await updateMember(
      trx,
      { tenantId, personId },
      {
        ...(roleId === undefined ? {} : { role_id: roleId }),
        ...(change.status === undefined ? {} : { status: change.status }),
      },
    )
    if (countsAsAdmin(before)) await mustKeepAnAdmin(trx, tenantId)
    if (before.status !== 'active' && change.status === 'active') await assertSeat(trx, tenantId, 'taken')
    const changed = present(await findMember(trx, tenantId, personId))
    await auditMember(trx, who, 'updated', changed)
    return changed
  })
  deps.grants.forget(`membership:${tenantId}:${personId}`)
  return member
}

/** Takes a member out of the tenant. Throws as `changeMember` does. */
export const removeMember = async (deps: Deps, who: Who, personId: string): Promise<void> => {
  const { tenantId } = who
  await inLockedTenant(deps.db, who, 'tenant-api:member:delete', async (trx) => {
    const member = await findLesser(trx, who, personId)
    await deleteMember(trx, { tenantId, personId })
    if (countsAsAdmin(member)) await mustKeepAnAdmin(trx, tenantId)
    await auditMember(trx, who, 'removed', member)
  })
  deps.grants.forget(`membership:${tenantId}:${personId}`)
}

/** Takes the caller out of a tenant, also of a suspended one. Throws `not_found`, and `last_admin`. */
export const leaveTenant = async (deps: Deps, who: Who): Promise<void> => {
  const { tenantId, personId } = who
  await deps.db.transaction().execute(async (trx) => {
    await lockTenant(trx, tenantId)
    const member = await findMember(trx, tenantId, personId)
    if (member?.status !== 'active') {
      throw new AppError('not_found', 'You have no tenant with this id or slug.')
    }
    await deleteMember(trx, { tenantId, personId })
    if (countsAsAdmin(member)) await mustKeepAnAdmin(trx, tenantId)
    await auditMember(trx, who, 'left', member)
  })
  deps.grants.forget(`membership:${tenantId}:${personId}`)
}
