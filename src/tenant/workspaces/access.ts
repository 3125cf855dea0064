import type { Permission } from '../../access/catalogue.ts'
import { lacking, type TenantScope } from '../../http/guards.ts'
import { AppError } from '../../kernel/errors.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'
import { mayInWorkspace, type WorkspaceRole, workspaceRoles } from './roles.ts'

export const readWorkspaces = 'tenant-api:workspace:read'

/** A workspace's id, or null for what is directly in the tenant. */
type Place = string | null

/** What the caller of a request may do in which workspace. */
export type WorkspaceAccess = Readonly<{
  may(permission: Permission, place: Place): boolean
  /**
   * Throws unless the caller may do what the request asks for in this workspace: `unseen` when they may not even `read`
   * there, as if nothing were there; else `forbidden`.
   */
  mustMay(permission: Permission, place: Place, read: Permission, unseen: () => AppError): void
  /** The workspaces in which they hold `permission`; undefined: in all of them, and outside. */
  placesOf(permission: Permission): string[] | undefined
}>

const rolesOf = (db: TenantDb, personId: string) =>
  db
    .selectFrom('workspace_members')
    .innerJoin('users', 'users.id', 'workspace_members.user_id')
    .select(['workspace_members.workspace_id', 'workspace_members.role'])
    .where('users.person_id', '=', personId)
    .execute()

const everyRole: readonly (WorkspaceRole | undefined)[] = [
  undefined,
  ...(Object.keys(workspaceRoles) as WorkspaceRole[]),
]

/**
 * The caller's access to workspaces, read from the tenant's database where the role in the tenant does not decide alone.
 * Throws `forbidden` when they hold `permission` nowhere at all: what a route's guard says where there are no workspaces.
 */
export const accessInWorkspaces = async (
  { db, personId, grant }: Pick<TenantScope<TenantTables>, 'db' | 'personId' | 'grant'>,
  permission: Permission,
): Promise<WorkspaceAccess> => {
  const { permissions } = grant
  const roles = new Map<string, WorkspaceRole>()
  const holds = (wanted: Permission) => (role: WorkspaceRole | undefined) =>
    mayInWorkspace(permissions, role, wanted)
  /** No role in a workspace would take it away. */
  const everywhere = (wanted: Permission): boolean => everyRole.every(holds(wanted))
  const isSettled = everywhere(permission)
  if (!isSettled) {
    for (const { workspace_id, role } of await rolesOf(db, personId)) roles.set(workspace_id, role)
  }
  const may = (wanted: Permission, place: Place): boolean => {
    if (everywhere(wanted)) return true
    // Nor would one give it.
    if (!everyRole.some(holds(wanted))) return false
    if (isSettled) throw new Error(`the roles in workspaces were not read for ${wanted}`)
    return mayInWorkspace(permissions, place === null ? undefined : roles.get(place), wanted)
  }
  const within = (wanted: Permission): string[] => [...roles.keys()].filter((place) => may(wanted, place))
  if (!permissions.has(permission) && within(permission).length === 0) throw lacking(grant, permission)
  return {
    may,
    mustMay(wanted, place, read, unseen) {
      if (may(wanted, place)) return
      if (!may(read, place)) throw unseen()
      const role = place === null ? undefined : roles.get(place)
      if (role === undefined) throw lacking(grant, wanted)
      throw new AppError(
        'forbidden',
        `Your role ${role} in this workspace does not have the permission ${wanted}.`,
      )
    },
    placesOf: (wanted) => (everywhere(wanted) ? undefined : within(wanted)),
  }
}
