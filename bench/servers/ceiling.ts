import Fastify from 'fastify'
import Pool from 'pg-pool'
import pg from 'pg'
const { SOCKET, DATABASE, PASSWORD, PORT } = process.env
const pool = new Pool({ host: SOCKET, port: 5432, database: DATABASE, user: DATABASE, password: PASSWORD, max: 10, Client: pg.Client } as never)
const app = Fastify()
const str = { type: 'string' } as const
const nstr = { type: ['string', 'null'] } as const
app.get('/api/projects/:id', { schema: { response: { 200: { type: 'object', properties: { id: str, name: str, description: nstr, workspaceId: nstr, createdBy: nstr, createdAt: str, updatedAt: str } } } } }, async (request) => {
  const { rows } = await pool.query({ name: 'p', text: 'select id, name, description, workspace_id, created_by, created_at, updated_at from projects where id = $1', values: [(request.params as { id: string }).id] })
  const row = rows[0]
  return { id: row.id, name: row.name, description: row.description, workspaceId: row.workspace_id, createdBy: row.created_by, createdAt: row.created_at.toISOString(), updatedAt: row.updated_at.toISOString() }
})
await app.listen({ port: Number(PORT) })
process.send?.('ready')
process.on('message', () => process.send?.(process.cpuUsage()))
