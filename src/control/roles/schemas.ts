import { type Static, Type } from 'typebox'
import {
  allPermissions,
  expandPermissions,
  grantablePatterns,
  type Permission,
} from '../../access/catalogue.ts'
import { Body, Id, Line, Text, Time } from '../../http/schemas.ts'
import type { MasterDb } from '../../master/master.ts'
import { countMembers, permissionsOfPolicies, policiesOfRoles } from './link-queries.ts'
import type { Named } from './queries.ts'

const name = Line({ maxLength: 100 })
const description = Text({ minLength: 0, maxLength: 1000 })

/** One permission of the catalogue. */
export const OnePermission = () => Type.Unsafe<Permission>(Type.Enum([...allPermissions]))

/** What a policy may hold. */
const Pattern = () =>
  Type.Unsafe<string>(
    Type.Enum([...grantablePatterns], { description: 'A permission, or a wildcard over some' }),
  )

/** Bounds what one role makes the master read for a grant. */
export const mostPolicies = 50

export const PatchBody = Body(
  { name: Type.Optional(name), description: Type.Optional(description) },
  { minProperties: 1 },
)
export const CreateRoleBody = Body({
  name,
  description: Type.Optional(description),
  policies: Type.Optional(
    Type.Array(Id(), {
      maxItems: mostPolicies,
      uniqueItems: true,
      description: 'Ids of policies to begin with',
    }),
  ),
})
export const CreatePolicyBody = Body({
  name,
  description: Type.Optional(description),
  permissions: Type.Optional(
    Type.Array(Pattern(), { maxItems: grantablePatterns.length, uniqueItems: true }),
  ),
})

export const RolePolicyParams = Type.Object({ id: Id(), policyId: Id() })
export const GrantParams = Type.Object({ id: Id(), permission: Pattern() })
/** Also what is no longer in the catalogue can be taken away. */
export const RevokeParams = Type.Object({ id: Id(), permission: Line({ maxLength: 200 }) })

const common = {
  id: Id(),
  name: Type.String(),
  description: Type.String(),
  system: Type.Boolean({ description: 'The same in every tenant; tenants use it, but do not change it' }),
  createdAt: Time(),
  updatedAt: Time(),
}
const toCommon = (row: Named) => ({
  id: row.id,
  name: row.name,
  description: row.description,
  system: row.tenant_id === null,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})

export const RoleView = Type.Object(
  {
    ...common,
    policies: Type.Array(Type.Object({ id: Id(), name: Type.String() })),
    permissions: Type.Array(Type.String(), { description: 'What it grants, wildcards written out' }),
    members: Type.Integer({ description: 'How many have it' }),
  },
  { title: 'Role' },
)

export const PolicyView = Type.Object(
  {
    ...common,
    permissions: Type.Array(Type.String(), { description: 'What it holds, wildcards as they are' }),
  },
  { title: 'Policy' },
)

export const PermissionView = Type.Object(
  {
    name: OnePermission(),
    description: Type.String(),
    service: Type.String(),
    entity: Type.String(),
    action: Type.String(),
  },
  { title: 'Permission' },
)

/** The roles as the tenant (null: the platform) sees them. */
export const toRoleViews = async (
  db: MasterDb,
  tenantId: string | null,
  rows: readonly Named[],
): Promise<Static<typeof RoleView>[]> => {
  if (rows.length === 0) return []
  const ids = rows.map(({ id }) => id)
  const members = await countMembers(db, tenantId, ids)
  const policies = Map.groupBy(await policiesOfRoles(db, ids), (policy) => policy.role_id)
  return rows.map((row) => {
    const own = policies.get(row.id) ?? []
    return {
      ...toCommon(row),
      policies: own.map(({ id, name }) => ({ id, name })),
      permissions: expandPermissions(own.flatMap(({ patterns }) => patterns.filter((p) => p !== null))),
      members: members.get(row.id) ?? 0,
    }
  })
}

export const toPolicyViews = async (
  db: MasterDb,
  rows: readonly Named[],
): Promise<Static<typeof PolicyView>[]> => {
  if (rows.length === 0) return []
  const held = Map.groupBy(
    await permissionsOfPolicies(
      db,
      rows.map(({ id }) => id),
    ),
    (row) => row.policy_id,
  )
  return rows.map((row) => ({
    ...toCommon(row),
    permissions: (held.get(row.id) ?? []).map(({ permission }) => permission),
  }))
}
