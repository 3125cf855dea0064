import Fastify from 'fastify'
import { serve } from '../lib/serve.ts'
import { type ProjectRequest, projectSchema } from './project.ts'

/** Fastify alone, with no database: what HTTP and JSON cost. */
serve(async () => {
  const app = Fastify()
  const now = new Date().toISOString()
  const rest = { name: 'Bridge', description: 'Over the river', workspaceId: null, createdBy: null }
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) => ({
    id: request.params.id,
    ...rest,
    createdAt: now,
    updatedAt: now,
  }))
  return { app, close: async () => {} }
})
