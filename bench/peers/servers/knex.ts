import Knex, { type Knex as Client } from 'knex'
import { clientOptions, type PostgresAddress } from '../../../src/kernel/postgres-address.ts'
import { serve } from '../../lib/serve.ts'
import { peerAddress, poolSize } from '../lib/databases.ts'
import { type Backend, expressApp, type Project } from '../lib/express-app.ts'
import { servedBy } from '../lib/served.ts'

const connect = (address: PostgresAddress): Client =>
  Knex({ client: 'pg', connection: clientOptions(address), pool: { min: 0, max: poolSize } })

/** Express, jsonwebtoken and knex with a client per tenant, each of its own pool: the databases are the tenants' own. */
serve(async (setup) => {
  const shared = connect(peerAddress('express', setup))
  const addresses = new Map(setup.tenants.map(({ tenantId, address }) => [tenantId, address]))
  const clients = new Map<string, Client>()
  const clientOf = (tenantId: string): Client => {
    const known = clients.get(tenantId)
    if (known !== undefined) return known
    const address = addresses.get(tenantId)
    if (address === undefined) throw new Error('there is no such tenant')
    const client = connect(address)
    clients.set(tenantId, client)
    return client
  }
  const backend: Backend = {
    permissionsOf: async ({ personId, sessionId, tenantId }) => {
      const row = await shared('sessions as s')
        .leftJoin('memberships as m', (on) =>
          on.on('m.person_id', 's.person_id').andOnVal('m.tenant_id', tenantId),
        )
        .leftJoin('roles as r', 'r.id', 'm.role_id')
        .where({ 's.id': sessionId, 's.person_id': personId, 's.revoked_at': null })
        .where('s.expires_at', '>', new Date())
        .first('r.permissions')
      return row?.permissions
    },
    listProjects: (tenantId, limit) =>
      clientOf(tenantId)('projects')
        .select<Project[]>('id', 'name', 'description', {
          workspaceId: 'workspace_id',
          createdBy: 'created_by',
          createdAt: 'created_at',
          updatedAt: 'updated_at',
        })
        .orderBy('id', 'desc')
        .limit(limit),
    close: () => Promise.all([shared, ...clients.values()].map((client) => client.destroy())),
  }
  return servedBy(expressApp(backend), backend.close)
})
