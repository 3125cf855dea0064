import { serve } from '../../lib/serve.ts'
import { openPool, peerAddress } from '../lib/databases.ts'
import { type Backend, expressApp } from '../lib/express-app.ts'
import { servedBy } from '../lib/served.ts'

const grantText = `
  select r.permissions
    from sessions s
    left join memberships m on m.tenant_id = $3 and m.person_id = s.person_id
    left join roles r on r.id = m.role_id
   where s.id = $1 and s.person_id = $2 and s.revoked_at is null and s.expires_at > now()`

const listText = `
  select id, name, description, workspace_id as "workspaceId", created_by as "createdBy", created_at as "createdAt",
         updated_at as "updatedAt"
    from projects where tenant_id = $1 order by id desc limit $2`

/** Express, jsonwebtoken and pg, written well: two named statements a request, one for all checks and one for the list. */
serve(async (setup) => {
  const pool = openPool(peerAddress('express', setup))
  const backend: Backend = {
    permissionsOf: async ({ personId, sessionId, tenantId }) => {
      const values = [sessionId, personId, tenantId]
      const { rows } = await pool.query({ name: 'grant', text: grantText, values })
      return rows[0]?.permissions
    },
    listProjects: async (tenantId, limit) => {
      const { rows } = await pool.query({ name: 'list', text: listText, values: [tenantId, limit] })
      return rows
    },
    close: () => pool.end(),
  }
  return servedBy(expressApp(backend), backend.close)
})
