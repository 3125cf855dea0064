import type pg from 'pg'
import { newId } from '../../../src/kernel/ids.ts'
import type { Asked, PeerAsks } from '../../lib/listing.ts'
import { pageSize } from '../../lib/listing.ts'
import type { Setup } from '../../lib/serve.ts'
import type { BenchTenant } from '../../lib/world.ts'
import { createPeerDatabase, peerAddress, withClient } from './databases.ts'
import { needed } from './express-app.ts'
import { signToken } from './tokens.ts'

const tables = `
  create table people (id uuid primary key, email text not null unique, name text not null);
  create table sessions (
    id uuid primary key,
    person_id uuid not null references people,
    expires_at timestamptz not null default now() + interval '1 day',
    revoked_at timestamptz
  );
  create table roles (id uuid primary key, name text not null, permissions text[] not null);
  create table memberships (
    tenant_id uuid not null,
    person_id uuid not null references people,
    role_id uuid not null references roles,
    primary key (tenant_id, person_id)
  );
  create table projects (
    id uuid primary key,
    tenant_id uuid not null,
    name text not null,
    description text,
    workspace_id uuid,
    created_by uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null
  );
  create index on projects (tenant_id, id)`

const permissions = ['project', 'workspace', 'member', 'role', 'settings'].flatMap((thing) =>
  ['read', 'create', 'update', 'delete'].map((deed) => `${thing}:${deed}`),
)

const path = `/api/projects?limit=${pageSize}`

const addPerson = async (client: pg.Client, tenantId: string, roleId: string): Promise<string> => {
  const id = newId()
  await client.query('insert into people values ($1, $2, $3)', [id, `${id}@example.com`, 'Member'])
  await client.query('insert into memberships values ($1, $2, $3)', [tenantId, id, roleId])
  return id
}

const addSession = async (
  client: pg.Client,
  personId: string,
  tenantId: string,
  revokedAt: Date | null = null,
): Promise<Asked> => {
  const sessionId = newId()
  const values = [sessionId, personId, revokedAt]
  await client.query('insert into sessions (id, person_id, revoked_at) values ($1, $2, $3)', values)
  return { path, token: signToken({ personId, sessionId, tenantId }) }
}

/** The projects are the same rows as in the tenant's own database. */
const copyProjects = async (client: pg.Client, { tenantId, address }: BenchTenant): Promise<void> => {
  const columns = 'id, name, description, workspace_id, created_by, created_at, updated_at'
  const { rows } = await withClient(address, (own) => own.query(`select ${columns} from projects`))
  await client.query(
    `insert into projects (tenant_id, ${columns})
     select $1, ${columns} from json_populate_recordset(null::projects, $2)`,
    [tenantId, JSON.stringify(rows)],
  )
}

const addRefusals = async (
  client: pg.Client,
  tenantId: string,
  admin: string,
): Promise<PeerAsks['refused']> => {
  const guest = newId()
  await client.query('insert into roles values ($1, $2, $3)', [
    guest,
    'Guest',
    permissions.filter((one) => one !== needed),
  ])
  const revoked = await addSession(client, await addPerson(client, tenantId, admin), tenantId, new Date())
  const stranger = await addPerson(client, newId(), admin)
  return [
    { ...revoked, status: 401 },
    { path, token: `${revoked.token}x`, status: 401 },
    { ...(await addSession(client, stranger, tenantId)), status: 403 },
    { ...(await addSession(client, await addPerson(client, tenantId, guest), tenantId)), status: 403 },
  ]
}

/** The database of the Express servers: people, sessions, roles, memberships and the tenants' projects. */
export const prepareExpress = async (setup: Setup): Promise<PeerAsks> => {
  await createPeerDatabase('express', setup)
  return withClient(peerAddress('express', setup), async (client) => {
    await client.query(tables)
    const admin = newId()
    await client.query('insert into roles values ($1, $2, $3)', [admin, 'Admin', permissions])
    const asked: Asked[] = []
    for (const tenant of setup.tenants) {
      const members: string[] = []
      for (let n = 0; n < pageSize; n += 1) members.push(await addPerson(client, tenant.tenantId, admin))
      asked.push(await addSession(client, members[0] ?? '', tenant.tenantId))
      await copyProjects(client, tenant)
    }
    const refused = await addRefusals(client, setup.tenants[0]?.tenantId ?? '', admin)
    await client.query('analyze')
    return { asked, refused }
  })
}
