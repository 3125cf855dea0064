import { type Kysely, sql, type Transaction } from 'kysely'
import { type Cut, readSortedCursor, toSortedPage } from '../../http/paging.ts'
import { containing } from '../../kernel/containing.ts'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { slugFromName, slugTaken, withFreeSlug } from '../../kernel/slug.ts'
import { type ArchivedFilter, archivedAt } from '../archiving.ts'
import { violated } from '../constraints.ts'
import { prepareQuery } from '../prepared-query.ts'
import { type Asked, byText, byTime, type SortKey, sortedPage } from '../sorted-list.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

type Trx = Transaction<TenantTables>

const columns = [
  'projects.id',
  'projects.slug',
  'projects.name',
  'projects.description',
  'projects.workspace_id',
  'projects.archived_at',
  'projects.created_by',
  'projects.created_at',
  'projects.updated_at',
] as const

const projects = (db: Kysely<TenantTables>) => db.selectFrom('projects').select(columns)

export type ProjectRow = Awaited<ReturnType<ReturnType<typeof projects>['executeTakeFirstOrThrow']>>

export const projectSorts = ['name', 'createdAt', 'updatedAt'] as const
type Key = (typeof projectSorts)[number]

const sorts: Record<Key, SortKey<ProjectRow>> = {
  name: byText('projects.name', (row) => row.name),
  createdAt: byTime('projects.created_at', (row) => row.created_at),
  updatedAt: byTime('projects.updated_at', (row) => row.updated_at),
}

const open = (db: Kysely<TenantTables>, limit: number) =>
  projects(db)
    .where('archived_at', 'is', null)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
const newestProjects = prepareQuery(open)
const projectsAfter = prepareQuery((db, limit: number, time: string, id: string) =>
  open(db, limit).where(sql<boolean>`(created_at, id) < (${time}::timestamptz, ${id}::uuid)`),
)

/** What most ask for, without a filter and newest first, by prepared queries. */
const newestPage = async (db: TenantDb, { limit, cursor, sort }: Asked<Key>): Promise<Cut<ProjectRow>> => {
  const { of, isValue } = sorts.createdAt
  const after = readSortedCursor(cursor, sort, isValue)
  const rows =
    after === undefined
      ? await newestProjects(db, limit + 1)
      : await projectsAfter(db, limit + 1, after.value, after.id)
  return toSortedPage(rows, limit, sort, of)
}

export type ProjectFilter = {
  q?: string | undefined
  slug?: string | undefined
  createdBy?: string | undefined
  /** `none`: directly in the tenant. */
  workspaceId?: string | undefined
  archived: ArchivedFilter
}

/** The projects that a filter lets through; those of these workspaces (undefined: of any, and those of none). */
export const listProjects = (
  db: TenantDb,
  { q, slug, createdBy, workspaceId, archived }: ProjectFilter,
  workspaces: readonly string[] | undefined,
  page: Asked<Key>,
): Promise<Cut<ProjectRow>> => {
  const filters = [q, slug, createdBy, workspaceId, workspaces]
  if (archived === 'false' && page.sort === '-createdAt' && filters.every((one) => one === undefined)) {
    return newestPage(db, page)
  }
  const found = projects(db)
    .$if(workspaces !== undefined, (query) =>
      query.where(sql<boolean>`workspace_id = any(${workspaces}::uuid[])`),
    )
    .$if(workspaceId === 'none', (query) => query.where('workspace_id', 'is', null))
    .$if(workspaceId !== undefined && workspaceId !== 'none', (query) =>
      query.where('workspace_id', '=', workspaceId ?? ''),
    )
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
  return sortedPage(found, 'projects.id', sorts, page)
}

const projectById = prepareQuery((db, id: string) => projects(db).where('id', '=', id))

export const findProject = async (db: Kysely<TenantTables>, id: string): Promise<ProjectRow | undefined> =>
  (await projectById(db, id))[0]

/** Nobody changes it before the transaction ends. Not `for update`, for which whoever deletes its workspace would wait. */
export const lockProject = (trx: Trx, id: string): Promise<ProjectRow | undefined> =>
  projects(trx).where('id', '=', id).forNoKeyUpdate().executeTakeFirst()

/** A workspace that is not there, or that the caller can't see: their mistake, not ours. */
export const unknownWorkspace = (cause?: unknown): AppError =>
  new AppError('validation_failed', 'There is no workspace with this id.', {
    errors: [{ path: '/workspaceId', message: 'is not a workspace of this tenant' }],
    cause,
  })

/**
 * Throws `conflict` when the workspace is archived, and `validation_failed` when there is none. It stays as it is until
 * the transaction ends.
 */
export const mustBeOpenWorkspace = async (trx: Trx, id: string | null): Promise<void> => {
  if (id === null) return
  const workspace = await trx
    .selectFrom('workspaces')
    .select('archived_at')
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
  if (workspace === undefined) throw unknownWorkspace()
  if (workspace.archived_at === null) return
  throw new AppError(
    'conflict',
    'The workspace is archived: nothing in it can be changed. Unarchive it, or choose another workspace.',
  )
}

type NewProject = {
  name: string
  slug: string | undefined
  description: string | null
  workspace_id: string | null
  created_by: string
}

/** Inserts a project; without a slug under one that resembles the name. Throws `slug_taken`. */
export const insertProject = (trx: Trx, { slug, ...values }: NewProject): Promise<ProjectRow> =>
  withFreeSlug(
    slug,
    () => slugFromName(values.name, 'project'),
    (free) =>
      trx
        .insertInto('projects')
        .values({ id: newId(), ...values, slug: free })
        .onConflict((conflict) => conflict.column('slug').doNothing())
        .returning(columns)
        .executeTakeFirst(),
  )

type Change = {
  name?: string
  slug?: string
  description?: string | null
  workspace_id?: string | null
  archived?: boolean
}

/** Changes a project that this transaction has locked. Throws `slug_taken`. */
export const updateProject = (trx: Trx, id: string, { archived, ...change }: Change): Promise<ProjectRow> =>
  trx
    .updateTable('projects')
    .set({ ...change, ...(archived === undefined ? {} : { archived_at: archivedAt(archived) }) })
    // Not the transaction's time: the one that waited for the lock began earlier than it changes something.
    .set({ updated_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirstOrThrow()
    .catch(violated('projects_slug_key', () => slugTaken(change.slug ?? '')))

export const deleteProject = async (trx: Trx, id: string): Promise<void> => {
  await trx.deleteFrom('projects').where('id', '=', id).execute()
}
