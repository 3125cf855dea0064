import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { type Member, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

let count = 0
const somebody = () => {
  count += 1
  return { email: `Somebody-${count}@Example.com`, firstName: 'Ann', lastName: `Nobody ${count}` }
}
const make = async ({ token }: Member, body: object = somebody()): Promise<string> => {
  const answer = await call('POST', '/api/users', { token, body })
  if (answer.status !== 201) throw new Error(answer.text)
  return String(answer.body.id)
}
const tell = ({ tenantId }: Member): Promise<void> => service.manager.deliverOutbox(tenantId)

const badBodies = [
  { name: 'an address that is none', body: { email: 'ann', firstName: 'A' } },
  { name: 'a first name of spaces', body: { email: 'a@example.com', firstName: ' ' } },
  { name: 'an unknown field', body: { email: 'a@example.com', firstName: 'A', personId: newId() } },
  { name: 'a kind', body: { email: 'a@example.com', firstName: 'A', kind: 'member' } },
]
const notFound = { status: 404, code: 'not_found' }
const badId = { name: 'an id that is none', url: '/api/users/none' }

keepsFivePromises(t, freehold, 'POST /api/users', {
  method: 'POST',
  url: () => '/api/users',
  body: { email: 'ann@example.com', firstName: 'Ann' },
  status: 201,
  bad: [{ name: 'a body without an address', body: { firstName: 'A' } }, ...badBodies],
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 201, 'each tenant has its own directory'),
})

keepsFivePromises(t, freehold, 'GET /api/users', {
  method: 'GET',
  url: () => '/api/users?kind=added',
  status: 200,
  bad: [
    { name: 'a made-up cursor', url: '/api/users?cursor=abc' },
    { name: 'an unknown sort key', url: '/api/users?sort=id' },
    { name: 'an unknown status', url: '/api/users?status=gone' },
  ],
  forbiddenTo: 'Basic',
  make,
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

keepsFivePromises(t, freehold, 'GET /api/users/:id', {
  method: 'GET',
  url: (id) => `/api/users/${id}`,
  status: 200,
  bad: [badId],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'PUT /api/users/:id', {
  method: 'PUT',
  url: (id) => `/api/users/${id}`,
  body: { email: 'put@example.com', firstName: 'Put' },
  status: 200,
  bad: [badId, { name: 'a part only', body: { firstName: 'A' } }, ...badBodies],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'PATCH /api/users/:id', {
  method: 'PATCH',
  url: (id) => `/api/users/${id}`,
  body: { firstName: 'Patched' },
  status: 200,
  bad: [badId, { name: 'an empty change', body: {} }, ...badBodies],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'DELETE /api/users/:id', {
  method: 'DELETE',
  url: (id) => `/api/users/${id}`,
  status: 204,
  bad: [badId],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

t.test('a person is what was sent; put replaces, patch changes', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const sent = somebody()
  const created = await call('POST', '/api/users', { token, body: sent })
  const kept = { ...sent, personId: null, kind: 'added', status: 'active', createdBy: admin.personId }
  t.match(created.body, kept)
  const url = `/api/users/${created.body.id}`
  t.equal(created.headers.location, url)
  const read = await call('GET', url, { token })
  t.strictSame([read.body, read.headers.etag], [created.body, created.headers.etag])
  t.match((await call('PATCH', url, { token, body: { firstName: 'Bea' } })).body, {
    ...kept,
    firstName: 'Bea',
  })
  const body = { email: 'new@example.com', firstName: 'Cleo' }
  t.match((await call('PUT', url, { token, body })).body, { ...body, lastName: null })
  const stale = { token, body, headers: { 'if-match': String(created.headers.etag) } }
  for (const method of ['PUT', 'PATCH']) {
    t.match((await call(method, url, stale)).body, { status: 412, code: 'precondition_failed' })
  }
  const remove = { token, headers: { 'if-match': String(created.headers.etag) } }
  t.match((await call('DELETE', url, remove)).body, { status: 412, code: 'precondition_failed' })
  t.equal((await call('DELETE', url, { token })).status, 204)
  t.match((await call('GET', url, { token })).body, notFound)
})

t.test('an address is in the directory once, in any case, also in a race', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const other = await make(admin)
  const race = await Promise.all(
    Array.from({ length: 16 }, (_, n) =>
      call('POST', '/api/users', {
        token,
        body: { email: n % 2 ? 'ann@example.com' : 'ANN@example.com', firstName: 'Ann' },
      }),
    ),
  )
  t.equal(race.filter(({ status }) => status === 201).length, 1)
  t.ok(race.every(({ status, body }) => status === 201 || body.code === 'email_taken'))
  const body = { email: 'Ann@Example.com', firstName: 'X' }
  t.match((await call('PUT', `/api/users/${other}`, { token, body })).body, { code: 'email_taken' })
  const own = { email: admin.email, firstName: 'X' }
  t.match((await call('POST', '/api/users', { token, body: own })).body, { code: 'email_taken' })
})

t.test('members are in the directory, and what is said of them is kept elsewhere', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const member = await freehold.join(admin, 'Viewer')
  await tell(admin)
  const url = `/api/users/${member.personId}`
  const read = await call('GET', url, { token })
  t.match(read.body, { kind: 'member', status: 'active', email: member.email, firstName: 'Test' })
  const conflict = { status: 409, code: 'conflict' }
  const whole = { email: 'x@example.com', firstName: 'X' }
  t.match((await call('PATCH', url, { token, body: { firstName: 'X' } })).body, {
    ...conflict,
    detail: /PATCH \/auth\/me/,
  })
  t.match((await call('PUT', url, { token, body: whole })).body, conflict)
  t.match((await call('DELETE', url, { token })).body, { ...conflict, detail: /\/api\/members/ })

  const name = { token: member.token, body: { firstName: 'Renamed' } }
  t.equal((await call('PATCH', '/auth/me', name)).status, 200)
  await tell(admin)
  t.equal((await call('GET', url, { token })).body.firstName, 'Renamed')

  t.equal((await call('DELETE', `/api/members/${member.personId}`, { token })).status, 204)
  await tell(admin)
  t.match((await call('GET', url, { token })).body, { status: 'removed' })
  const listed = async (query: string) =>
    ((await call('GET', `/api/users?${query}`, { token })).body.data as unknown as { id: string }[]).some(
      ({ id }) => id === member.personId,
    )
  t.notOk(await listed(''))
  t.ok(await listed('status=removed'))
  t.ok(await listed('status=all'))
  t.equal((await call('DELETE', url, { token })).status, 204, 'now they may go')
})

t.test('what somebody made stays when they are taken out of the directory', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const writer = await freehold.join(admin, 'Writer')
  const made = await call('POST', '/api/projects', { token: writer.token, body: { name: 'Bridge' } })
  t.equal(made.body.createdBy, writer.personId)
  const asWriter = (url: string, body: object) => call('POST', url, { token: writer.token, body })
  const job = await asWriter('/api/jobs', { type: 'noop', idempotencyKey: 'made' })
  const schedule = await asWriter('/api/schedules', { name: 'S', type: 'noop', cron: '0 6 * * *' })
  const work = async () => [
    (await call('GET', `/api/jobs/${job.body.id}`, { token })).body.createdBy as unknown,
    (await call('GET', `/api/schedules/${schedule.body.id}`, { token })).body.createdBy as unknown,
  ]
  await call('DELETE', `/api/members/${writer.personId}`, { token })
  await tell(admin)
  const read = async () =>
    (await call('GET', `/api/projects/${made.body.id}`, { token })).body.createdBy as unknown
  t.equal(await read(), writer.personId, 'rows still name who is no longer a member')
  t.strictSame(await work(), [writer.personId, writer.personId])
  const place = await call('POST', '/api/workspaces', { token, body: { name: 'Place' } })
  const role = { token, body: { role: 'admin' } }
  const given = await call('PUT', `/api/workspaces/${place.body.id}/members/${writer.personId}`, role)
  t.match(given.body, { code: 'conflict' }, 'who is no member gets no role that would wait for them')
  t.equal((await call('DELETE', `/api/users/${writer.personId}`, { token })).status, 204)
  t.equal(await read(), null)
  t.strictSame(await work(), [null, null])
})

t.test('who was added and becomes a member is found by both ids', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const member = await freehold.join(admin, 'Viewer')
  const added = await make(admin, { email: member.email, firstName: 'Early' })
  await tell(admin)
  for (const id of [added, member.personId]) {
    t.match((await call('GET', `/api/users/${id}`, { token })).body, {
      id: added,
      personId: member.personId,
      kind: 'member',
      firstName: 'Test',
    })
  }
})

t.test('filters, count and order agree', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  await tell(admin)
  const add = (email: string, firstName: string, lastName: string | null) =>
    make(admin, { email, firstName, lastName })
  await add('zoe@example.org', 'Zoe', 'Abel')
  await add('ann_x@example.org', 'Ann', null)
  await add('anna@example.org', 'anna', 'Berg')
  const found = async (query: string) => {
    const { body } = await call('GET', `/api/users?kind=added&${query}`, { token })
    const counted = await call('GET', `/api/users/count?kind=added&${query}`, { token })
    const data = (body.data ?? []) as unknown as { firstName: string }[]
    if (!query.startsWith('sort')) t.strictSame(counted.body, { count: data.length }, query)
    return data.map(({ firstName }) => firstName).sort()
  }
  t.strictSame(await found('firstName=ann'), ['Ann', 'anna'])
  t.strictSame(await found('lastName=BERG'), ['anna'])
  t.strictSame(await found('email=_'), ['Ann'], 'nothing is a pattern')
  t.strictSame(await found('q=example.org'), ['Ann', 'Zoe', 'anna'])
  t.strictSame(await found(`q=${encodeURIComponent('zoe abel')}`), ['Zoe'])
  t.strictSame(await found(`createdBy=${newId()}`), [])
  t.match((await call('GET', '/api/users/count', { token })).body, { count: 4 }, 'and the Admin')
  t.match((await call('GET', '/api/users/count?kind=member', { token })).body, { count: 1 })
  for (const sort of ['email', '-email', 'firstName', 'lastName', '-lastName', 'createdAt', 'updatedAt']) {
    const whole = await call('GET', `/api/users?sort=${sort}`, { token })
    const seen: unknown[] = []
    let cursor = ''
    do {
      const { body } = await call('GET', `/api/users?sort=${sort}&limit=1${cursor}`, { token })
      seen.push(...(body.data as unknown as unknown[]))
      cursor = body.nextCursor ? `&cursor=${body.nextCursor}` : ''
    } while (cursor !== '')
    t.strictSame(seen, whole.body.data, sort)
  }
})

t.test('without room for its audit entry a change does not happen', async (t) => {
  const admin = await freehold.newTenant()
  const { token, tenantId } = admin
  const id = await make(admin)
  const before = (await call('GET', `/api/users/${id}`, { token })).body
  await freehold.asSuperuser(tenantId, 'alter table audit_log add constraint no_room check (false) not valid')
  t.equal((await call('PATCH', `/api/users/${id}`, { token, body: { firstName: 'Unseen' } })).status, 500)
  t.equal((await call('DELETE', `/api/users/${id}`, { token })).status, 500)
  t.equal((await call('POST', '/api/users', { token, body: somebody() })).status, 500)
  t.strictSame((await call('GET', `/api/users/${id}`, { token })).body, before)
  t.match((await call('GET', '/api/users/count?kind=added', { token })).body, { count: 1 })
})
