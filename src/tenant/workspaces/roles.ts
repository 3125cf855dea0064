import type { Permission } from '../../access/catalogue.ts'

const viewer = ['tenant-api:workspace:read', 'tenant-api:project:read'] as const satisfies Permission[]

const editor = [
  ...viewer,
  'tenant-api:project:create',
  'tenant-api:project:update',
  'tenant-api:project:delete',
] as const satisfies Permission[]

const admin = [
  ...editor,
  'tenant-api:workspace:update',
  'tenant-api:workspace:delete',
] as const satisfies Permission[]

/**
 * What a role gives inside its workspace. A product adds its own permissions to these lists; what is in none of them, the
 * role in the tenant alone decides.
 */
export const workspaceRoles = { viewer, editor, admin } as const

export type WorkspaceRole = keyof typeof workspaceRoles

/** Whoever holds it in the tenant is not held to a role in a workspace. */
const aboveRoles: Permission = 'tenant-api:workspace:manage'

/**
 * Whether somebody with these permissions in the tenant and this role in a workspace may do something there. The one rule of
 * it: inside a workspace its role counts instead of the role in the tenant, be it more or less; without a role there, and for
 * whoever may manage workspaces, the role in the tenant counts. See docs/permissions.md.
 */
export const mayInWorkspace = (
  inTenant: ReadonlySet<Permission>,
  role: WorkspaceRole | undefined,
  permission: Permission,
): boolean => {
  const isGoverned = workspaceRoles.admin.some((one) => one === permission)
  if (role === undefined || !isGoverned || inTenant.has(aboveRoles)) return inTenant.has(permission)
  return workspaceRoles[role].some((one) => one === permission)
}
