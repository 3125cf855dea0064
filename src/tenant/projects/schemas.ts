import { type Static, Type } from 'typebox'
import { SortedPageQuery } from '../../http/paging.ts'
import { Body, Id, Line, Nullable, Slug, Text, Time } from '../../http/schemas.ts'
import { commonFilters } from '../workspaces/schemas.ts'
import { type ProjectRow, projectSorts } from './queries.ts'

const name = Line({ maxLength: 200 })
const description = Nullable(Text({ minLength: 0, maxLength: 10_000 }))
const workspaceId = Nullable(Id())

export const CreateProjectBody = Body({
  name,
  slug: Type.Optional(Slug()),
  description: Type.Optional(description),
  workspaceId: Type.Optional(workspaceId),
})

export const PatchProjectBody = Body(
  {
    name: Type.Optional(name),
    slug: Type.Optional(Slug()),
    description: Type.Optional(description),
    workspaceId: Type.Optional(workspaceId),
    archived: Type.Optional(Type.Boolean()),
  },
  { minProperties: 1 },
)

export const ProjectQuery = Type.Object({
  ...SortedPageQuery(projectSorts, '-createdAt').properties,
  ...commonFilters,
  workspaceId: Type.Optional(
    Type.Union([Id(), Type.Literal('none')], { description: 'none: those directly in the tenant' }),
  ),
})

export const ProjectView = Type.Object(
  {
    id: Id(),
    slug: Type.String(),
    name: Type.String(),
    description: Nullable(Type.String()),
    workspaceId: Nullable(Id()),
    archived: Type.Boolean(),
    archivedAt: Nullable(Time()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Project' },
)

export const toProjectView = (row: ProjectRow): Static<typeof ProjectView> => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  description: row.description,
  workspaceId: row.workspace_id,
  archived: row.archived_at !== null,
  archivedAt: row.archived_at?.toISOString() ?? null,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
