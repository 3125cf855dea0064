import { sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import type { MasterTransaction } from '../master/master.ts'
import { expandPermissions, type Permission } from './catalogue.ts'
import { grantQuery, toGrant } from './holdings.ts'

/** Who gives: a member, by what they hold in this tenant. The scope of a member route is one. */
export type Giver = Readonly<{ tenantId: string; personId: string }>

const systemWide = 'system-wide'

const lock = async (trx: MasterTransaction, owner: string, mode: 'change' | 'use'): Promise<void> => {
  const take = sql.raw(mode === 'change' ? 'pg_advisory_xact_lock' : 'pg_advisory_xact_lock_shared')
  await sql`select ${take}(hashtextextended(${`freehold access ${owner}`}, 0))`.execute(trx)
}

/**
 * Until the transaction ends nobody else changes roles and policies of this tenant (null: the system-wide ones, and with
 * them what they are part of anywhere), nor gives one of its roles away. So what is checked stays true until it is
 * committed, whatever others do to the other half. Take it before anything else in the transaction, which must be a
 * plain one (read committed): what it reads afterwards is what was committed before.
 */
export const lockAccess = async (trx: MasterTransaction, tenantId: string | null): Promise<void> => {
  await lock(trx, systemWide, tenantId === null ? 'change' : 'use')
  if (tenantId !== null) await lock(trx, tenantId, 'change')
}

/** What the giver holds by the master itself, not by memory. Throws `forbidden` when they are no active member. */
export const readHoldings = async (
  trx: MasterTransaction,
  { tenantId, personId }: Giver,
): Promise<ReadonlySet<Permission>> => {
  const grant = toGrant(tenantId, await grantQuery(trx, tenantId, personId).execute())
  if (grant === undefined) throw new AppError('forbidden', 'You are not an active member of this tenant.')
  return grant.permissions
}

/** The permissions and patterns that these roles have by their policies, each once. */
export const patternsOfRoles = async (
  trx: MasterTransaction,
  roleIds: readonly string[],
): Promise<string[]> => {
  if (roleIds.length === 0) return []
  const rows = await trx
    .selectFrom('role_policies')
    .innerJoin('policy_permissions', 'policy_permissions.policy_id', 'role_policies.policy_id')
    .distinct()
    .select('policy_permissions.permission')
    .where('role_policies.role_id', 'in', roleIds)
    .execute()
  return rows.map(({ permission }) => permission)
}

const named = 5

/** Throws `forbidden`, with the first few that are missing, unless every permission that `patterns` grant is held. */
export const mustHold = (holdings: ReadonlySet<Permission>, patterns: readonly string[]): void => {
  const missing = expandPermissions(patterns).filter((permission) => !holdings.has(permission))
  if (missing.length === 0) return
  const more = missing.length > named ? ` and ${missing.length - named} more` : ''
  throw new AppError(
    'forbidden',
    `Nobody grants what they do not hold. You are missing ${missing.slice(0, named).join(', ')}${more}; ask a member who holds it.`,
  )
}

/**
 * Call it before a role is given to anybody (member, invitation, system user), as the first thing in the transaction that
 * gives it and before anything is written there: what the role holds stays as it is until that transaction ends. Answers
 * the role. Throws `not_found` for a role that the tenant does not see, and `forbidden` when the role has a permission
 * that the giver does not hold right now, or when the giver is no active member.
 */
export const mustHoldRole = async (
  trx: MasterTransaction,
  giver: Giver,
  roleId: string,
): Promise<{ id: string; name: string; system: boolean }> => {
  await lock(trx, systemWide, 'use')
  await lock(trx, giver.tenantId, 'use')
  const role = await trx
    .selectFrom('roles')
    .select(['id', 'name', 'tenant_id'])
    .where('id', '=', roleId)
    .where((w) => w.or([w('tenant_id', 'is', null), w('tenant_id', '=', giver.tenantId)]))
    .executeTakeFirst()
  if (role === undefined) throw new AppError('not_found', 'There is no role with this id in this tenant.')
  mustHold(await readHoldings(trx, giver), await patternsOfRoles(trx, [roleId]))
  return { id: role.id, name: role.name, system: role.tenant_id === null }
}
