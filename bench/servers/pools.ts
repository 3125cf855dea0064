import Fastify from 'fastify'
import { serve } from '../lib/serve.ts'
import {
  onlyRow,
  type ProjectRequest,
  type ProjectRow,
  projectQuery,
  projectSchema,
  toView,
} from './project.ts'
import { createTenantPools } from './tenant-pools.ts'

const largestPool = 10

/** A plain LRU of `pg.Pool`s with a named statement: all connections it may have, shared out evenly over its pools. */
serve(async ({ tenants, connections }) => {
  const size = Math.min(largestPool, Math.max(1, Math.floor(connections / tenants.length)))
  const pools = createTenantPools(
    tenants.map(({ address }) => address),
    { pools: Math.floor(connections / size), size },
  )
  const app = Fastify()
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) =>
    pools.use(Number(request.headers['x-tenant']), async (pool) =>
      toView(onlyRow(await pool.query<ProjectRow>(projectQuery(request.params.id, 'project')))),
    ),
  )
  return { app, close: () => pools.close() }
})
