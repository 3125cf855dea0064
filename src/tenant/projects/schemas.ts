import { type Static, Type } from 'typebox'
import { Body, Id, Line, Nullable, Text, Time } from '../../http/schemas.ts'
import type { ProjectRow } from './queries.ts'

const name = Line({ maxLength: 200 })
const description = Nullable(Text({ minLength: 0, maxLength: 10_000 }))
const workspaceId = Nullable(Id())

export const CreateProjectBody = Body({
  name,
  description: Type.Optional(description),
  workspaceId: Type.Optional(workspaceId),
})

export const PatchProjectBody = Body(
  {
    name: Type.Optional(name),
    description: Type.Optional(description),
    workspaceId: Type.Optional(workspaceId),
  },
  { minProperties: 1 },
)

export const ProjectView = Type.Object(
  {
    id: Id(),
    name: Type.String(),
    description: Nullable(Type.String()),
    workspaceId: Nullable(Id()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Project' },
)

export const toProjectView = (row: ProjectRow): Static<typeof ProjectView> => ({
  id: row.id,
  name: row.name,
  description: row.description,
  workspaceId: row.workspace_id,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
