/**
 * Every permission there is, as data: `service:entity:action`. A product built on Freehold adds its own here, one line
 * an entity; route declarations, roles and the API's answers are all typed and checked against it.
 */
export const permissionCatalogue = {
  'tenant-api': {
    tenant: ['read', 'update'],
    project: ['read', 'create', 'update', 'delete'],
  },
} as const satisfies Record<string, Record<string, readonly string[]>>

type Catalogue = typeof permissionCatalogue
type PermissionsOf<S extends keyof Catalogue & string> = {
  [E in keyof Catalogue[S] & string]: `${S}:${E}:${(Catalogue[S][E] & readonly string[])[number]}`
}[keyof Catalogue[S] & string]

/** One concrete permission of the catalogue. */
export type Permission = { [S in keyof Catalogue & string]: PermissionsOf<S> }[keyof Catalogue & string]

/** All concrete permissions, sorted. */
export const allPermissions: readonly Permission[] = Object.entries(permissionCatalogue)
  .flatMap(([service, entities]) =>
    Object.entries(entities).flatMap(([entity, actions]) =>
      actions.map((action) => `${service}:${entity}:${action}`),
    ),
  )
  .sort() as Permission[]

/** True when `pattern` (a permission, `service:entity:*` or `service:*`) covers `permission`. */
export const covers = (pattern: string, permission: string): boolean =>
  pattern === permission || (pattern.endsWith(':*') && permission.startsWith(pattern.slice(0, -1)))

/** The concrete permissions that a role's patterns grant, sorted. Patterns that match nothing grant nothing. */
export const expandPermissions = (patterns: readonly string[]): Permission[] =>
  allPermissions.filter((permission) => patterns.some((pattern) => covers(pattern, permission)))

const reads = (permissions: readonly Permission[]): Permission[] =>
  permissions.filter((p) => p.endsWith(':read'))
const writable = /^tenant-api:(user|workspace|project|job):/

/** The roles that every tenant has. Written to the master at start, so a release can change what they hold. */
export const systemRoles: readonly { name: string; description: string; permissions: readonly string[] }[] = [
  { name: 'Admin', description: 'Everything in the tenant', permissions: ['tenant-api:*'] },
  {
    name: 'Writer',
    description: 'Reads everything; changes people, workspaces and projects; runs jobs',
    permissions: [
      ...new Set([...reads(allPermissions), ...allPermissions.filter((p) => writable.test(p))]),
    ].sort(),
  },
  { name: 'Viewer', description: 'Reads everything', permissions: reads(allPermissions) },
  {
    name: 'Basic',
    description: "The tenant's own name and their own profile",
    permissions: ['tenant-api:tenant:read'],
  },
]
