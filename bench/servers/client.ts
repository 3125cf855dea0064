import Fastify from 'fastify'
import pg from 'pg'
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

/** The naive way: a new connection to the tenant's database for every request. */
serve(async ({ tenants }) => {
  const app = Fastify()
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) => {
    const tenant = tenants[Number(request.headers['x-tenant'])]
    if (tenant === undefined) throw new Error('there is no such tenant')
    const client = new pg.Client(clientOptions(tenant.address))
    await client.connect()
    try {
      return toView(onlyRow(await client.query<ProjectRow>(projectQuery(request.params.id))))
    } finally {
      await client.end()
    }
  })
  return { app, close: async () => {} }
})
