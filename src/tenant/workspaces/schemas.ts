import { type Static, Type } from 'typebox'
import { SortedPageQuery } from '../../http/paging.ts'
import { Body, Id, Line, Nullable, Slug, Time } from '../../http/schemas.ts'
import { type WorkspaceRow, workspaceSorts } from './queries.ts'

const name = Line({ maxLength: 200 })

export const CreateWorkspaceBody = Body({
  name,
  slug: Type.Optional(Slug()),
})

export const PatchWorkspaceBody = Body(
  {
    name: Type.Optional(name),
    slug: Type.Optional(Slug()),
    archived: Type.Optional(Type.Boolean()),
  },
  { minProperties: 1 },
)

/** Filters of every list of what can be archived and was created by somebody. */
export const commonFilters = {
  q: Type.Optional(Line({ maxLength: 100, description: 'A part of the name or slug, in any case' })),
  slug: Type.Optional(Slug()),
  createdBy: Type.Optional(Id()),
  archived: Type.Unsafe<'true' | 'false' | 'all'>({
    type: 'string',
    enum: ['true', 'false', 'all'],
    default: 'false',
    description: 'Archived ones are left out unless asked for',
  }),
}

export const WorkspaceQuery = Type.Object({
  ...SortedPageQuery(workspaceSorts, '-createdAt').properties,
  ...commonFilters,
})

export const WorkspaceView = Type.Object(
  {
    id: Id(),
    slug: Type.String(),
    name: Type.String(),
    archived: Type.Boolean(),
    archivedAt: Nullable(Time()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Workspace' },
)

export const toWorkspaceView = (row: WorkspaceRow): Static<typeof WorkspaceView> => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  archived: row.archived_at !== null,
  archivedAt: row.archived_at?.toISOString() ?? null,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
