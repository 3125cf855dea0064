import { type Kysely, sql, type Transaction } from 'kysely'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { prepareQuery } from '../prepared-query.ts'
import type { ProjectsTable, TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

const columns = [
  'id',
  'name',
  'description',
  'workspace_id',
  'created_by',
  'created_at',
  'updated_at',
] as const

export type ProjectRow = NonNullable<Awaited<ReturnType<typeof findProject>>>

const newestProjects = prepareQuery((db, limit: number) =>
  db.selectFrom('projects').select(columns).orderBy('id', 'desc').limit(limit),
)
const projectsAfter = prepareQuery((db, limit: number, after: string) =>
  db.selectFrom('projects').select(columns).where('id', '<', after).orderBy('id', 'desc').limit(limit),
)

/** Projects, newest first, beginning after the one with id `after`. */
export const listProjects = (db: TenantDb, { limit, after }: { limit: number; after: string | undefined }) =>
  after === undefined ? newestProjects(db, limit) : projectsAfter(db, limit, after)

const projectById = prepareQuery((db, id: string) =>
  db.selectFrom('projects').select(columns).where('id', '=', id),
)

export const findProject = async (db: Kysely<TenantTables>, id: string) => (await projectById(db, id))[0]

type Change = Partial<Pick<ProjectsTable, 'name' | 'description' | 'workspace_id'>>

/** A workspace that is not there breaks the foreign key: the caller's mistake, not ours. */
const refuseUnknownWorkspace = (error: unknown): never => {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown }
  if (code !== '23503' || constraint !== 'projects_workspace_id_fkey') throw error
  throw new AppError('validation_failed', 'There is no workspace with this id.', {
    errors: [{ path: '/workspaceId', message: 'is not a workspace of this tenant' }],
    cause: error,
  })
}

export const insertProject = (
  trx: Transaction<TenantTables>,
  project: { name: string; description: string | null; workspace_id: string | null; created_by: string },
) =>
  trx
    .insertInto('projects')
    .values({ id: newId(), ...project })
    .returning(columns)
    .executeTakeFirstOrThrow()
    .catch(refuseUnknownWorkspace)

/** The changed project, or undefined when there is none with this id. */
export const updateProject = (trx: Transaction<TenantTables>, id: string, change: Change) =>
  trx
    .updateTable('projects')
    .set({ ...change, updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirst()
    .catch(refuseUnknownWorkspace)

/** True when there was such a project. */
export const deleteProject = async (trx: Transaction<TenantTables>, id: string): Promise<boolean> => {
  const { numDeletedRows } = await trx.deleteFrom('projects').where('id', '=', id).executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}
