import type { QueryResult } from 'pg'

/** What every server but Freehold sends to the database, and how it answers: the same JSON as `GET /api/projects/:id`. */
export const projectQuery = (id: string, name?: string) => ({
  ...(name === undefined ? {} : { name }),
  text: 'select id, name, description, workspace_id, created_by, created_at, updated_at from projects where id = $1',
  values: [id],
})

const text = { type: 'string' } as const
const maybeText = { type: ['string', 'null'] } as const

/** Fastify writes the answer by its schema, as it does for Freehold. */
export const projectSchema = {
  response: {
    200: {
      type: 'object',
      properties: {
        id: text,
        name: text,
        description: maybeText,
        workspaceId: maybeText,
        createdBy: maybeText,
        createdAt: text,
        updatedAt: text,
      },
    },
  },
} as const

export type ProjectRow = {
  id: string
  name: string
  description: string | null
  workspace_id: string | null
  created_by: string | null
  created_at: Date
  updated_at: Date
}

export const toView = (row: ProjectRow) => ({
  id: row.id,
  name: row.name,
  description: row.description,
  workspaceId: row.workspace_id,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})

/** The one project a query found. Throws when there is none: then what is measured is not what was meant. */
export const onlyRow = (result: QueryResult<ProjectRow>): ProjectRow => {
  const [row] = result.rows
  if (row === undefined) throw new Error('there is no such project')
  return row
}

/** What a request asks for, in every server but Freehold: the tenant by its number, with no one checking who asks. */
export type ProjectRequest = { Params: { id: string }; Headers: { 'x-tenant'?: string } }
