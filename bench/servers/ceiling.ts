import Fastify from 'fastify'
import pg from 'pg'
import Pool from 'pg-pool'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { serve } from '../lib/serve.ts'
import {
  onlyRow,
  type ProjectRequest,
  type ProjectRow,
  projectQuery,
  projectSchema,
  toView,
} from './project.ts'

/** The ceiling, 1.00 in every table: Fastify, one fixed pool of 10 on one database, one named statement, nobody checked. */
serve(async ({ tenants }) => {
  const [only] = tenants
  if (only === undefined) throw new Error('there is no tenant')
  const pool = new Pool({ ...clientOptions(only.address), Client: pg.Client, max: 10 })
  const app = Fastify()
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) =>
    toView(onlyRow(await pool.query<ProjectRow>(projectQuery(request.params.id, 'project')))),
  )
  return { app, close: () => pool.end() }
})
