import { type Kysely, sql, type Transaction } from 'kysely'
import { containing } from '../../kernel/containing.ts'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { slugFromName, slugTaken, withFreeSlug } from '../../kernel/slug.ts'
import { type ArchivedFilter, archivedAt } from '../archiving.ts'
import { violated } from '../constraints.ts'
import { type Asked, byText, byTime, type SortKey, sortedPage } from '../sorted-list.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

type Trx = Transaction<TenantTables>

const columns = [
  'workspaces.id',
  'workspaces.slug',
  'workspaces.name',
  'workspaces.archived_at',
  'workspaces.created_by',
  'workspaces.created_at',
  'workspaces.updated_at',
] as const

const workspaces = (db: Kysely<TenantTables>) => db.selectFrom('workspaces').select(columns)

export type WorkspaceRow = Awaited<ReturnType<ReturnType<typeof workspaces>['executeTakeFirstOrThrow']>>

export const workspaceSorts = ['name', 'createdAt', 'updatedAt'] as const
type Key = (typeof workspaceSorts)[number]

const sorts: Record<Key, SortKey<WorkspaceRow>> = {
  name: byText('workspaces.name', (row) => row.name),
  createdAt: byTime('workspaces.created_at', (row) => row.created_at),
  updatedAt: byTime('workspaces.updated_at', (row) => row.updated_at),
}

export type WorkspaceFilter = {
  q?: string | undefined
  slug?: string | undefined
  createdBy?: string | undefined
  archived: ArchivedFilter
}

/** The workspaces of these ids (undefined: any) that a filter lets through. */
export const listWorkspaces = (
  db: TenantDb,
  { q, slug, createdBy, archived }: WorkspaceFilter,
  ids: readonly string[] | undefined,
  page: Asked<Key>,
) => {
  const found = workspaces(db)
    .$if(ids !== undefined, (query) => query.where(sql<boolean>`workspaces.id = any(${ids}::uuid[])`))
    .$if(q !== undefined, (query) =>
      query.where((w) =>
        w.or([w('name', 'ilike', containing(q ?? '')), w('slug', 'ilike', containing(q ?? ''))]),
      ),
    )
    .$if(slug !== undefined, (query) => query.where('slug', '=', slug ?? ''))
    .$if(createdBy !== undefined, (query) => query.where('created_by', '=', createdBy ?? ''))
    .$if(archived !== 'all', (query) =>
      query.where('archived_at', archived === 'true' ? 'is not' : 'is', null),
    )
  return sortedPage(found, 'workspaces.id', sorts, page)
}

export const findWorkspace = (db: Kysely<TenantTables>, id: string): Promise<WorkspaceRow | undefined> =>
  workspaces(db).where('id', '=', id).executeTakeFirst()

/** Nobody changes it before the transaction ends. */
export const lockWorkspace = (trx: Trx, id: string): Promise<WorkspaceRow | undefined> =>
  workspaces(trx).where('id', '=', id).forUpdate().executeTakeFirst()

/** Inserts a workspace; without a slug under one that resembles the name. Throws `slug_taken`. */
export const insertWorkspace = (
  trx: Trx,
  { slug, ...values }: { name: string; slug: string | undefined; created_by: string },
): Promise<WorkspaceRow> =>
  withFreeSlug(
    slug,
    () => slugFromName(values.name, 'workspace'),
    (free) =>
      trx
        .insertInto('workspaces')
        .values({ id: newId(), ...values, slug: free })
        .onConflict((conflict) => conflict.column('slug').doNothing())
        .returning(columns)
        .executeTakeFirst(),
  )

/** Changes a workspace that this transaction has locked. Throws `slug_taken`. */
export const updateWorkspace = (
  trx: Trx,
  id: string,
  { archived, ...change }: { name?: string; slug?: string; archived?: boolean },
): Promise<WorkspaceRow> =>
  trx
    .updateTable('workspaces')
    .set({ ...change, ...(archived === undefined ? {} : { archived_at: archivedAt(archived) }) })
    // Not the transaction's time: the one that waited for the lock began earlier than it changes something.
    .set({ updated_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirstOrThrow()
    .catch(violated('workspaces_slug_key', () => slugTaken(change.slug ?? '')))

/** Throws `conflict` while there are projects in it, archived ones too. */
export const deleteWorkspace = async (trx: Trx, id: string): Promise<void> => {
  await trx
    .deleteFrom('workspaces')
    .where('id', '=', id)
    .execute()
    .catch(
      violated('projects_workspace_id_fkey', () => {
        const list = `GET /api/projects?workspaceId=${id}&archived=all`
        return new AppError(
          'conflict',
          `There are projects in this workspace: move or delete them first (${list}), or archive the workspace.`,
        )
      }),
    )
}
