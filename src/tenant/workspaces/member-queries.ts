import { type Kysely, sql, type Transaction } from 'kysely'
import { type Asked, byText, byTime, type SortKey, sortedPage } from '../sorted-list.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'
import type { WorkspaceRole } from './roles.ts'

type Trx = Transaction<TenantTables>

const members = (db: Kysely<TenantTables>, workspaceId: string) =>
  db
    .selectFrom('workspace_members')
    .innerJoin('users', 'users.id', 'workspace_members.user_id')
    .select([
      'users.id',
      'users.email',
      'users.first_name',
      'users.last_name',
      'users.kind',
      'users.status',
      'workspace_members.role',
      'workspace_members.created_at',
      'workspace_members.updated_at',
    ])
    .where('workspace_members.workspace_id', '=', workspaceId)

export type WorkspaceMemberRow = Awaited<ReturnType<ReturnType<typeof members>['executeTakeFirstOrThrow']>>

export const memberSorts = ['email', 'createdAt'] as const
type Key = (typeof memberSorts)[number]

const sorts: Record<Key, SortKey<WorkspaceMemberRow>> = {
  email: byText('users.email', (row) => row.email),
  createdAt: byTime('workspace_members.created_at', (row) => row.created_at),
}

/** The people who have a role in a workspace. */
export const listWorkspaceMembers = (
  db: TenantDb,
  workspaceId: string,
  role: WorkspaceRole | undefined,
  page: Asked<Key>,
) =>
  sortedPage(
    members(db, workspaceId).$if(role !== undefined, (query) =>
      query.where('workspace_members.role', '=', role ?? 'viewer'),
    ),
    'users.id',
    sorts,
    page,
  )

/** Somebody's role in a workspace. */
export const findWorkspaceMember = (
  db: Kysely<TenantTables>,
  workspaceId: string,
  userId: string,
): Promise<WorkspaceMemberRow | undefined> =>
  members(db, workspaceId).where('users.id', '=', userId).executeTakeFirst()

/** Gives somebody of the directory a role in a workspace, in place of the one they had. */
export const setRole = async (
  trx: Trx,
  workspaceId: string,
  userId: string,
  role: WorkspaceRole,
): Promise<void> => {
  await trx
    .insertInto('workspace_members')
    .values({ workspace_id: workspaceId, user_id: userId, role })
    .onConflict((conflict) =>
      conflict
        .columns(['workspace_id', 'user_id'])
        .doUpdateSet({ role, updated_at: sql<Date>`clock_timestamp()` }),
    )
    .execute()
}

/** The role that they had there, or undefined. */
export const removeRole = async (
  trx: Trx,
  workspaceId: string,
  userId: string,
): Promise<WorkspaceRole | undefined> => {
  const row = await trx
    .deleteFrom('workspace_members')
    .where('workspace_id', '=', workspaceId)
    .where('user_id', '=', userId)
    .returning('role')
    .executeTakeFirst()
  return row?.role
}
