type Entity = Readonly<{ of: string; may: readonly string[] }>

/**
 * Every permission there is, as data: `service:entity:action`. A product built on Freehold adds its own here, one line
 * an entity; route declarations, roles and the API's answers are all typed and checked against it. `of` is for people:
 * each description is the action and these words.
 */
export const permissionCatalogue = {
  'tenant-api': {
    tenant: { of: "the tenant's name, settings and status", may: ['read', 'update', 'delete'] },
    billing: { of: "the tenant's plan and subscription", may: ['read', 'update'] },
    member: { of: 'members', may: ['read', 'create', 'update', 'delete'] },
    invitation: { of: 'invitations', may: ['read', 'create', 'delete'] },
    role: { of: 'roles', may: ['read', 'create', 'update', 'delete'] },
    policy: { of: 'policies', may: ['read', 'create', 'update', 'delete'] },
    'system-user': { of: "the tenant's system users", may: ['read', 'create', 'update', 'delete'] },
    permission: { of: 'the catalogue of permissions', may: ['read'] },
    user: { of: "people in the tenant's own data", may: ['read', 'create', 'update', 'delete'] },
    // Who may manage workspaces is not held to the role they have in one.
    workspace: { of: 'workspaces', may: ['read', 'create', 'update', 'delete', 'manage'] },
    project: { of: 'projects', may: ['read', 'create', 'update', 'delete'] },
    job: { of: 'jobs', may: ['read', 'run'] },
    audit: { of: "the tenant's audit log", may: ['read', 'export'] },
    analytics: { of: 'analytics', may: ['read'] },
  },
} as const satisfies Record<string, Record<string, Entity>>

type Catalogue = typeof permissionCatalogue
type ActionsOf<E> = E extends { may: readonly (infer A extends string)[] } ? A : never
type PermissionsOf<S extends keyof Catalogue & string> = {
  [E in keyof Catalogue[S] & string]: `${S}:${E}:${ActionsOf<Catalogue[S][E]>}`
}[keyof Catalogue[S] & string]

/** One concrete permission of the catalogue. */
export type Permission = { [S in keyof Catalogue & string]: PermissionsOf<S> }[keyof Catalogue & string]

/** One line of the catalogue, as people read it. */
export type CataloguedPermission = Readonly<{
  name: Permission
  description: string
  service: string
  entity: string
  action: string
}>

const describe = (action: string, of: string): string =>
  `${action.charAt(0).toUpperCase()}${action.slice(1)} ${of}`

/** The whole catalogue, sorted by name. */
export const cataloguedPermissions: readonly CataloguedPermission[] = Object.entries(permissionCatalogue)
  .flatMap(([service, entities]) =>
    Object.entries(entities).flatMap(([entity, { of, may }]) =>
      may.map((action) => ({
        name: `${service}:${entity}:${action}` as Permission,
        description: describe(action, of),
        service,
        entity,
        action,
      })),
    ),
  )
  .sort((a, b) => (a.name < b.name ? -1 : 1))

/** All concrete permissions, sorted. */
export const allPermissions: readonly Permission[] = cataloguedPermissions.map(({ name }) => name)

/** All that a policy may hold: the permissions, `service:entity:*` and `service:*`. Sorted. */
export const grantablePatterns: readonly string[] = [
  ...new Set(
    cataloguedPermissions.flatMap(({ name, service, entity }) => [
      name,
      `${service}:${entity}:*`,
      `${service}:*`,
    ]),
  ),
].sort()

/** True when `pattern` (a permission, `service:entity:*` or `service:*`) covers `permission`. */
export const covers = (pattern: string, permission: string): boolean =>
  pattern === permission || (pattern.endsWith(':*') && permission.startsWith(pattern.slice(0, -1)))

/** The concrete permissions that a role's patterns grant, sorted. Patterns that match nothing grant nothing. */
export const expandPermissions = (patterns: readonly string[]): Permission[] =>
  allPermissions.filter((permission) => patterns.some((pattern) => covers(pattern, permission)))

const reads = (permissions: readonly Permission[]): Permission[] =>
  permissions.filter((p) => p.endsWith(':read'))
const writable = /^tenant-api:(user|workspace|project|job):(?!manage$)/

/**
 * The roles that every tenant has, each with a policy of its name. Written to the master at start, so a release can change
 * what they hold; nobody else changes them.
 */
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

/** True for the names of the roles and policies above. */
export const isShipped = (name: string): boolean => systemRoles.some((role) => role.name === name)
