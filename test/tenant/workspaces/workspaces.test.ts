import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { type Member, startFreehold } from '../../helpers/freehold.ts'
import { databaseOf } from '../../helpers/tenant-manager.ts'
import { until } from '../../helpers/until.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

const make = async (member: Member, name = 'A workspace'): Promise<string> => {
  const { body } = await call('POST', '/api/workspaces', { token: member.token, body: { name } })
  return String(body.id)
}
const makeProject = async (member: Member, workspaceId: string | null, name = 'Bridge'): Promise<string> => {
  const body = { name, workspaceId }
  return String((await call('POST', '/api/projects', { token: member.token, body })).body.id)
}

const badBodies = [
  { name: 'a name of spaces', body: { name: '   ' } },
  { name: 'a slug with capitals', body: { name: 'A', slug: 'Big' } },
  { name: 'a slug that ends with a hyphen', body: { name: 'A', slug: 'a-' } },
  { name: 'an unknown field', body: { name: 'A', createdBy: newId() } },
]
const notFound = { status: 404, code: 'not_found' }
const badId = { name: 'an id that is none', url: '/api/workspaces/none' }

keepsFivePromises(t, freehold, 'POST /api/workspaces', {
  method: 'POST',
  url: () => '/api/workspaces',
  body: { name: 'Bridges' },
  status: 201,
  bad: [{ name: 'a body without a name', body: { slug: 'a' } }, ...badBodies],
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 201, 'each tenant creates in its own database'),
})

keepsFivePromises(t, freehold, 'GET /api/workspaces', {
  method: 'GET',
  url: () => '/api/workspaces',
  status: 200,
  bad: [
    { name: 'a made-up cursor', url: '/api/workspaces?cursor=abc' },
    { name: 'an unknown sort key', url: '/api/workspaces?sort=slug;drop' },
    { name: 'an unknown filter value', url: '/api/workspaces?archived=maybe' },
  ],
  forbiddenTo: 'Basic',
  make,
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

keepsFivePromises(t, freehold, 'GET /api/workspaces/:id', {
  method: 'GET',
  url: (id) => `/api/workspaces/${id}`,
  status: 200,
  bad: [badId],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'PATCH /api/workspaces/:id', {
  method: 'PATCH',
  url: (id) => `/api/workspaces/${id}`,
  body: { name: 'Renamed' },
  status: 200,
  bad: [badId, { name: 'an empty change', body: {} }, ...badBodies],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'DELETE /api/workspaces/:id', {
  method: 'DELETE',
  url: (id) => `/api/workspaces/${id}`,
  status: 204,
  bad: [badId],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'GET /api/workspaces/:id/members', {
  method: 'GET',
  url: (id) => `/api/workspaces/${id}/members`,
  status: 200,
  bad: [{ name: 'a role that is none', url: `/api/workspaces/${newId()}/members?role=owner` }],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

t.test('a workspace is what was sent, its slug made from the name', async (t) => {
  const admin = await freehold.newTenant()
  const body = { name: 'Müller & Söhne' }
  const created = await call('POST', '/api/workspaces', { token: admin.token, body })
  t.match(created.body, { ...body, slug: 'muller-sohne', archived: false, archivedAt: null })
  t.equal(created.body.createdBy, admin.personId)
  t.equal(created.headers.location, `/api/workspaces/${created.body.id}`)
  const read = await call('GET', `/api/workspaces/${created.body.id}`, { token: admin.token })
  t.strictSame(read.body, created.body)
  const again = await call('POST', '/api/workspaces', { token: admin.token, body })
  t.match(again.body.slug, /^muller-sohne-[a-z2-9]{5}$/)
  const wanted = { ...body, slug: 'muller-sohne' }
  const taken = await call('POST', '/api/workspaces', { token: admin.token, body: wanted })
  t.match(taken.body, { status: 409, code: 'slug_taken' })
  const change = { token: admin.token, body: { slug: 'muller-sohne' } }
  t.match((await call('PATCH', `/api/workspaces/${again.body.id}`, change)).body, { code: 'slug_taken' })
  t.equal((await call('PATCH', `/api/workspaces/${created.body.id}`, change)).status, 200, 'its own')
})

for (const path of ['/api/workspaces', '/api/projects']) {
  t.test(`of sixteen at once that want one slug at ${path}, one gets it`, async (t) => {
    const { token } = await freehold.newTenant()
    const all = (body: object) =>
      Promise.all(Array.from({ length: 16 }, () => call('POST', path, { token, body })))
    const wanted = await all({ name: 'One', slug: 'one' })
    t.strictSame(wanted.map(({ status }) => status).sort(), [201, ...Array.from({ length: 15 }, () => 409)])
    t.ok(wanted.every(({ status, body }) => status === 201 || body.code === 'slug_taken'))
    const made = await all({ name: 'One' })
    t.ok(made.every(({ status }) => status === 201))
    t.equal(new Set(made.map(({ body }) => body.slug)).size, 16, 'made slugs give way to each other')
    const change = { token, body: { slug: 'one' } }
    t.match((await call('PATCH', `${path}/${made[0]?.body.id}`, change)).body, { code: 'slug_taken' })
  })

  t.test(`of sixteen at once that change what they have read at ${path}, one wins`, async (t) => {
    const { token } = await freehold.newTenant()
    const { body, headers } = await call('POST', path, { token, body: { name: 'Read' } })
    const url = `${path}/${body.id}`
    const etag = String(headers.etag)
    t.match(etag, /^"[\w-]{22}"$/, 'a strong tag')
    t.equal((await call('GET', url, { token })).headers.etag, etag)
    const patch = (name: string, tag: string) =>
      call('PATCH', url, { token, body: { name }, headers: { 'if-match': tag } })
    const race = await Promise.all(Array.from({ length: 16 }, (_, n) => patch(`Name ${n}`, etag)))
    const won = race.filter(({ status }) => status === 200)
    t.equal(won.length, 1)
    t.ok(race.every((a) => a.status === 200 || (a.status === 412 && a.body.code === 'precondition_failed')))
    const now = await call('GET', url, { token })
    t.strictSame(now.body, won[0]?.body)
    t.equal(now.headers.etag, won[0]?.headers.etag)
    t.not(now.headers.etag, etag)
    const remove = (tag: string) => call('DELETE', url, { token, headers: { 'if-match': tag } })
    t.match((await remove(etag)).body, { status: 412, code: 'precondition_failed' })
    t.match((await remove(`W/${now.headers.etag}`)).body, { status: 412 }, 'a weak tag never matches')
    t.match((await remove('unquoted')).body, { status: 400, code: 'validation_failed' })
    t.equal((await patch('Any', '*')).status, 200)
    const last = String((await call('GET', url, { token })).headers.etag)
    t.equal((await remove(`"other", ${last}`)).status, 204)
    t.match((await remove('*')).body, notFound)
  })

  t.test(`what has not changed at ${path} is not sent again`, async (t) => {
    const { token } = await freehold.newTenant()
    const { body, headers } = await call('POST', path, { token, body: { name: 'Read' } })
    const get = (tag: string) =>
      call('GET', `${path}/${body.id}`, { token, headers: { 'if-none-match': tag } })
    for (const tag of [String(headers.etag), `W/${headers.etag}`, `"x", ${headers.etag}`, '*']) {
      const answer = await get(tag)
      t.equal(answer.status, 304, tag)
      t.equal(answer.text, '')
      t.equal(answer.headers.etag, headers.etag)
    }
    t.equal((await get('"x"')).status, 200)
  })

  t.test(`a creation at ${path} is done once for each key`, async (t) => {
    const { token } = await freehold.newTenant()
    const ask = () =>
      call('POST', path, { token, body: { name: 'Once' }, headers: { 'idempotency-key': 'k' } })
    const [first, second] = [await ask(), await ask()]
    t.strictSame(second.body, first.body)
    t.equal(second.headers['idempotency-replayed'], 'true')
    const { data } = (await call('GET', path, { token })).body as unknown as { data: unknown[] }
    t.equal(data.length, 1)
  })
}

t.test('a workspace with projects is not deleted, and says how to go on', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const id = await make(admin)
  const project = await makeProject(admin, id)
  await call('PATCH', `/api/projects/${project}`, { token, body: { archived: true } })
  const refused = await call('DELETE', `/api/workspaces/${id}`, { token })
  t.match(refused.body, { status: 409, code: 'conflict', detail: /workspaceId=[\w-]+&archived=all/ })
  const listed = await call('GET', `/api/projects?workspaceId=${id}&archived=all`, { token })
  t.match(listed.body, { data: [{ id: project }] }, 'the list it names shows them')
  t.equal((await call('DELETE', `/api/projects/${project}`, { token })).status, 204)
  t.equal((await call('DELETE', `/api/workspaces/${id}`, { token })).status, 204)
})

t.test('a project and its workspace deleted at once leave no project without its workspace', async (t) => {
  const admin = await freehold.newTenant()
  const { token, tenantId } = admin
  for (let round = 0; round < 8; round += 1) {
    const id = await make(admin, `Round ${round}`)
    const [created, removed] = await Promise.all([
      call('POST', '/api/projects', { token, body: { name: 'Late', workspaceId: id } }),
      call('DELETE', `/api/workspaces/${id}`, { token }),
    ])
    const outcome = `${created.status} ${removed.status}`
    t.ok(['201 409', '400 204'].includes(outcome), outcome)
  }
  const orphans = 'select from projects p where not exists (select from workspaces where id = p.workspace_id)'
  t.strictSame(await freehold.asSuperuser(tenantId, orphans), [])
})

t.test('what is archived is left out of lists and can only be deleted or taken out again', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const id = await make(admin, 'Old')
  const project = await makeProject(admin, id, 'In it')
  const other = await make(admin, 'New')
  const url = `/api/workspaces/${id}`
  const projectUrl = `/api/projects/${project}`
  const patch = (path: string, body: object) => call('PATCH', path, { token, body })
  const archived = await patch(url, { archived: true })
  t.match(archived.body, { archived: true, archivedAt: archived.body.updatedAt })
  const twice = await patch(url, { archived: true })
  t.equal(twice.body.archivedAt, archived.body.archivedAt, 'twice is once')

  const conflict = { status: 409, code: 'conflict' }
  t.match((await patch(url, { name: 'Newer' })).body, conflict)
  t.match((await patch(projectUrl, { name: 'Newer' })).body, conflict)
  t.match((await patch(projectUrl, { workspaceId: other })).body, conflict)
  const create = { token, body: { name: 'Late', workspaceId: id } }
  t.match((await call('POST', '/api/projects', create)).body, conflict)
  const free = await makeProject(admin, null, 'Free')
  t.match((await patch(`/api/projects/${free}`, { workspaceId: id })).body, conflict)
  t.equal((await call('GET', projectUrl, { token })).status, 200, 'it can be read')

  const names = async (query: string) => {
    const { body } = await call('GET', `/api/workspaces?sort=name${query}`, { token })
    return (body.data as unknown as { name: string }[]).map(({ name }) => name)
  }
  t.strictSame(await names(''), ['New'])
  t.strictSame(await names('&archived=true'), ['Old'])
  t.strictSame(await names('&archived=all'), ['New', 'Old'])

  t.match((await patch(url, { archived: false, name: 'Back' })).body, {
    archived: false,
    archivedAt: null,
    name: 'Back',
  })
  await patch(projectUrl, { archived: true })
  t.match((await patch(projectUrl, { name: 'Newer' })).body, conflict)
  t.match((await patch(projectUrl, { archived: false, workspaceId: other })).body, { workspaceId: other })
  await patch(projectUrl, { archived: true })
  t.equal((await call('DELETE', projectUrl, { token })).status, 204)
})

t.test('whoever asks waits for a change that is under way, and hears how it ended', async (t) => {
  const admin = await freehold.newTenant()
  const { token, tenantId } = admin
  const id = await make(admin)
  const { body: person } = await call('POST', '/api/users', {
    token,
    body: { email: 'ann@example.com', firstName: 'Ann' },
  })
  const during = async (change: string, ask: () => ReturnType<typeof call>) => {
    const client = await databaseOf(t, { db: service.master.db, superuser: freehold.superuser }, tenantId)
    await client.query(`begin; ${change}`)
    let done = false
    const answer = ask().finally(() => {
      done = true
    })
    const waits =
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    await until(async () => done || (await freehold.asSuperuser(tenantId, waits)).length === 1)
    await client.query('commit')
    return (await answer).body
  }
  t.match(
    await during(`update workspaces set archived_at = now() where id = '${id}'`, () =>
      call('POST', '/api/projects', { token, body: { name: 'Late', workspaceId: id } }),
    ),
    { status: 409, code: 'conflict' },
    'nothing new in a workspace that is being archived',
  )
  const project = await makeProject(admin, null)
  for (const [table, url, one, body] of [
    ['workspaces', '/api/workspaces', id, { name: 'Mine' }],
    ['projects', '/api/projects', project, { name: 'Mine' }],
    ['users', '/api/users', person.id, { firstName: 'Mine' }],
  ] as const) {
    const { headers } = await call('GET', `${url}/${one}`, { token })
    const theirs = `update ${table} set updated_at = updated_at + interval '1 s' where id = '${one}'`
    const mine = () =>
      call('PATCH', `${url}/${one}`, { token, body, headers: { 'if-match': String(headers.etag) } })
    t.match(
      await during(theirs, mine),
      { code: 'precondition_failed' },
      `nobody's change of ${table} is lost`,
    )
  }
  t.match(
    await during(`delete from users where id = '${person.id}'`, () =>
      call('PUT', `/api/workspaces/${id}/members/${person.id}`, { token, body: { role: 'viewer' } }),
    ),
    notFound,
    'no role for somebody who is being removed',
  )
})

t.test('a change and its audit entry are one transaction', async (t) => {
  const admin = await freehold.newTenant()
  const { token, tenantId } = admin
  const id = await make(admin)
  const url = `/api/workspaces/${id}`
  for (const body of [{ name: 'Again' }, { archived: true }, { archived: false }]) {
    await call('PATCH', url, { token, body })
  }
  const member = `${url}/members/${admin.personId}`
  await call('PUT', member, { token, body: { role: 'viewer' } })
  await call('DELETE', member, { token })
  const entries = await freehold.service.router.use(tenantId, (db) =>
    db.selectFrom('audit_log').select('action').where('workspace_id', '=', id).orderBy('id').execute(),
  )
  const actions = ['created', 'updated', 'archived', 'unarchived', 'member_set', 'member_removed']
  t.strictSame(
    entries.map(({ action }) => action),
    actions.map((action) => `workspace.${action}`),
  )
  await freehold.asSuperuser(tenantId, 'alter table audit_log add constraint no_room check (false) not valid')
  const before = (await call('GET', url, { token })).body
  t.equal((await call('PATCH', url, { token, body: { name: 'Unseen' } })).status, 500)
  t.equal((await call('DELETE', url, { token })).status, 500)
  t.equal((await call('PUT', member, { token, body: { role: 'viewer' } })).status, 500)
  t.equal((await call('POST', '/api/workspaces', { token, body: { name: 'Unseen' } })).status, 500)
  t.strictSame((await call('GET', url, { token })).body, before)
  t.strictSame((await call('GET', `${url}/members`, { token })).body.data, [])
})
