import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { type Member, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call } = freehold

const make = async (member: Member, name = 'A project'): Promise<string> => {
  const { body } = await call('POST', '/api/projects', { token: member.token, body: { name } })
  return String(body.id)
}

const badBodies = [
  { name: 'a name of spaces', body: { name: '   ' } },
  { name: 'a name that is too long', body: { name: 'x'.repeat(201) } },
  { name: 'a name with a zero byte', body: { name: 'a\u0000b' } },
  { name: 'a name that is a number', body: { name: 7 } },
  { name: 'an unknown field', body: { name: 'A', tenantId: newId() } },
  { name: 'a workspace that is not there', body: { name: 'A', workspaceId: newId() } },
  { name: 'a list instead of an object', body: [] },
]
const notFound = { status: 404, code: 'not_found' }
const badId = { name: 'an id that is none', url: '/api/projects/1%20or%201=1' }

keepsFivePromises(t, freehold, 'POST /api/projects', {
  method: 'POST',
  url: () => '/api/projects',
  body: { name: 'Bridge', description: 'Over the river' },
  status: 201,
  bad: [{ name: 'a body without a name', body: {} }, ...badBodies],
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 201, 'each tenant creates in its own database'),
})

keepsFivePromises(t, freehold, 'GET /api/projects', {
  method: 'GET',
  url: () => '/api/projects',
  status: 200,
  bad: [
    { name: 'a limit of 0', url: '/api/projects?limit=0' },
    { name: 'a limit of 101', url: '/api/projects?limit=101' },
    { name: 'a limit that is no number', url: '/api/projects?limit=many' },
    { name: 'a made-up cursor', url: '/api/projects?cursor=abc' },
  ],
  forbiddenTo: 'Basic',
  make,
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

keepsFivePromises(t, freehold, 'GET /api/projects/:id', {
  method: 'GET',
  url: (id) => `/api/projects/${id}`,
  status: 200,
  bad: [badId],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'PATCH /api/projects/:id', {
  method: 'PATCH',
  url: (id) => `/api/projects/${id}`,
  body: { name: 'Renamed' },
  status: 200,
  bad: [badId, { name: 'an empty change', body: {} }, ...badBodies],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'DELETE /api/projects/:id', {
  method: 'DELETE',
  url: (id) => `/api/projects/${id}`,
  status: 204,
  bad: [badId],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

t.test('a project is what was sent, and stays so', async (t) => {
  const admin = await freehold.newTenant()
  const sent = { name: 'Bridge', description: 'Over the river\nin two parts' }
  const created = await call('POST', '/api/projects', { token: admin.token, body: sent })
  t.match(created.body, { ...sent, workspaceId: null, createdBy: admin.personId })
  t.equal(created.headers.location, `/api/projects/${created.body.id}`)
  const read = await call('GET', `/api/projects/${created.body.id}`, { token: admin.token })
  t.strictSame(read.body, created.body)
})

t.test('a change touches only what it names, and null empties', async (t) => {
  const admin = await freehold.newTenant()
  const { body: before } = await call('POST', '/api/projects', {
    token: admin.token,
    body: { name: 'Bridge', description: 'Over the river' },
  })
  const url = `/api/projects/${before.id}`
  const renamed = await call('PATCH', url, { token: admin.token, body: { name: 'Tunnel' } })
  t.match(renamed.body, {
    id: before.id,
    name: 'Tunnel',
    description: 'Over the river',
    createdAt: before.createdAt,
  })
  const emptied = await call('PATCH', url, { token: admin.token, body: { description: null } })
  t.match(emptied.body, { name: 'Tunnel', description: null })
})

t.test('a deleted project is gone for every route', async (t) => {
  const admin = await freehold.newTenant()
  const url = `/api/projects/${await make(admin)}`
  t.equal((await call('DELETE', url, { token: admin.token })).status, 204)
  t.match((await call('GET', url, { token: admin.token })).body, notFound)
  t.match((await call('PATCH', url, { token: admin.token, body: { name: 'x' } })).body, notFound)
  t.match((await call('DELETE', url, { token: admin.token })).body, notFound)
})

t.test('paging walks through all, newest first, each once', async (t) => {
  const admin = await freehold.newTenant()
  const ids: string[] = []
  for (let i = 0; i < 7; i += 1) ids.unshift(await make(admin, `Project ${i}`))
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`
    const { body } = await call('GET', `/api/projects?limit=3${query}`, { token: admin.token })
    const page = body as unknown as { data: { id: string }[]; nextCursor: string | null }
    t.ok(page.data.length <= 3)
    seen.push(...page.data.map((project) => project.id))
    cursor = page.nextCursor
  } while (cursor !== null)
  t.strictSame(seen, ids)
})

t.test('a change and its audit entry are one transaction', async (t) => {
  const { tenantId, token, personId } = await freehold.newTenant()
  const { body } = await call('POST', '/api/projects', { token, body: { name: 'Audited' } })
  const id = String(body.id)
  await call('PATCH', `/api/projects/${id}`, { token, body: { name: 'Again' } })
  await call('DELETE', `/api/projects/${id}`, { token })
  const entries = await freehold.service.router.use(tenantId, (db) =>
    db.selectFrom('audit_log').select(['action', 'actor_id', 'entity_id']).orderBy('id').execute(),
  )
  t.strictSame(
    entries,
    ['project.created', 'project.updated', 'project.deleted'].map((action) => ({
      action,
      actor_id: personId,
      entity_id: id,
    })),
  )
  const master = await freehold.service.master.db.selectFrom('audit_log').select('entity_id').execute()
  t.notOk(
    master.some((entry) => entry.entity_id === id),
    "a tenant's own events are not in the master",
  )
})

t.test('without room for its audit entry a change does not happen', async (t) => {
  const admin = await freehold.newTenant()
  const id = await make(admin)
  await freehold.asSuperuser(
    admin.tenantId,
    'alter table audit_log add constraint no_room check (false) not valid',
  )
  t.equal(
    (await call('PATCH', `/api/projects/${id}`, { token: admin.token, body: { name: 'Unseen' } })).status,
    500,
  )
  t.equal((await call('DELETE', `/api/projects/${id}`, { token: admin.token })).status, 500)
  t.match((await call('GET', `/api/projects/${id}`, { token: admin.token })).body, { name: 'A project' })
})
