import Fastify from 'fastify'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import Pool from 'pg-pool'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { serve } from '../lib/serve.ts'
import { type ProjectRequest, type ProjectRow, projectSchema, toView } from './project.ts'

const columns = [
  'id',
  'name',
  'description',
  'workspace_id',
  'created_by',
  'created_at',
  'updated_at',
] as const

/** The ceiling through Kysely as it comes: statements without a name. */
serve(async ({ tenants }) => {
  const [only] = tenants
  if (only === undefined) throw new Error('there is no tenant')
  const pool = new Pool({ ...clientOptions(only.address), Client: pg.Client, max: 10 })
  const db = new Kysely<{ projects: ProjectRow }>({ dialect: new PostgresDialect({ pool }) })
  const app = Fastify()
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) =>
    toView(
      await db
        .selectFrom('projects')
        .select(columns)
        .where('id', '=', request.params.id)
        .executeTakeFirstOrThrow(),
    ),
  )
  return { app, close: () => db.destroy() }
})
