import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { type Answer, type Member, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

const enqueue = ({ token }: Pick<Member, 'token'>, body: object = {}): Promise<Answer> =>
  call('POST', '/api/jobs', { token, body: { type: 'noop', idempotencyKey: newId(), ...body } })
const make = async (member: Member): Promise<string> => String((await enqueue(member)).body.id)
const makeCancelled = async (member: Member): Promise<string> => {
  const id = await make(member)
  await call('POST', `/api/jobs/${id}/cancel`, { token: member.token })
  return id
}
const get = ({ token }: Member, id: unknown): Promise<Answer> =>
  call('GET', `/api/jobs/${String(id)}`, { token })
const idsOf = ({ body }: Answer): string[] =>
  (body as unknown as { data: { id: string }[] }).data.map((job) => job.id)

const notFound = { status: 404, code: 'not_found' }
const badId = (action = '') => ({ name: 'an id that is none', url: `/api/jobs/1%20or%201=1${action}` })
const deep = JSON.parse(`${'['.repeat(65)}${']'.repeat(65)}`)

keepsFivePromises(t, freehold, 'POST /api/jobs', {
  method: 'POST',
  url: () => '/api/jobs',
  body: { type: 'echo', payload: { a: [1, null, 'x'] }, idempotencyKey: 'five' },
  status: 202,
  bad: [
    { name: 'no key', body: { type: 'noop' } },
    { name: 'an empty key', body: { type: 'noop', idempotencyKey: '' } },
    { name: 'a key of the schedules', body: { type: 'noop', idempotencyKey: 'schedule:x' } },
    { name: 'an unknown type', body: { type: 'launch', idempotencyKey: 'k' } },
    { name: 'a type that every object has', body: { type: 'constructor', idempotencyKey: 'k' } },
    { name: 'an unknown field', body: { type: 'noop', idempotencyKey: 'k', status: 'succeeded' } },
    { name: 'no attempt', body: { type: 'noop', idempotencyKey: 'k', maxAttempts: 0 } },
    { name: 'a time that is none', body: { type: 'noop', idempotencyKey: 'k', runAt: 'tomorrow' } },
    {
      name: 'a workspace that is not there',
      body: { type: 'noop', idempotencyKey: 'k', workspaceId: newId() },
    },
    {
      name: 'a zero byte deep in the payload',
      body: { type: 'echo', idempotencyKey: 'k', payload: [{ a: '\0' }] },
    },
    { name: 'a zero byte in a key', body: { type: 'echo', idempotencyKey: 'k', payload: { '\0': 1 } } },
    { name: 'half a character', body: { type: 'echo', idempotencyKey: 'k', payload: '\ud800' } },
    { name: 'a payload of 65 levels', body: { type: 'echo', idempotencyKey: 'k', payload: deep } },
  ],
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 202, 'each tenant has keys of its own'),
})

keepsFivePromises(t, freehold, 'GET /api/jobs', {
  method: 'GET',
  url: () => '/api/jobs',
  status: 200,
  bad: [
    { name: 'an unknown status', url: '/api/jobs?status=lost' },
    { name: 'a workspace that is no id', url: '/api/jobs?workspaceId=x' },
    { name: 'a made-up cursor', url: '/api/jobs?cursor=abc' },
  ],
  forbiddenTo: 'Basic',
  make,
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

keepsFivePromises(t, freehold, 'GET /api/jobs/:id', {
  method: 'GET',
  url: (id) => `/api/jobs/${id}`,
  status: 200,
  bad: [badId()],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'POST /api/jobs/:id/cancel', {
  method: 'POST',
  url: (id) => `/api/jobs/${id}/cancel`,
  status: 200,
  bad: [badId('/cancel')],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'POST /api/jobs/:id/retry', {
  method: 'POST',
  url: (id) => `/api/jobs/${id}/retry`,
  status: 202,
  bad: [badId('/retry')],
  forbiddenTo: 'Viewer',
  make: makeCancelled,
  elsewhere: notFound,
})

t.test('a Writer runs jobs', async (t) => {
  const writer = await freehold.join(await freehold.newTenant(), 'Writer')
  t.equal((await enqueue(writer)).status, 202)
})

t.test('a job is what was asked for, and what came of it', async (t) => {
  const admin = await freehold.newTenant()
  const payload = { text: 'ü\u2028', list: [1, 2.5, null, true], nested: { a: {} } }
  const first = await enqueue(admin, { type: 'echo', payload, priority: 7, maxAttempts: 2 })
  t.match(first.body, {
    ...{
      type: 'echo',
      status: 'queued',
      payload,
      priority: 7,
      attempts: 0,
      maxAttempts: 2,
      result: null,
      error: null,
    },
    ...{ createdBy: admin.personId, workspaceId: null, startedAt: null, finishedAt: null },
  })
  t.equal(first.headers.location, `/api/jobs/${first.body.id}`)
  await service.jobRunner.look(admin.tenantId)
  const { body } = await get(admin, first.body.id)
  t.match(body, { status: 'succeeded', attempts: 1, error: null, startedAt: String, finishedAt: String })
  t.strictSame(body.result, payload)
  const { body: plain } = await enqueue(admin, { type: 'echo' })
  t.strictSame(plain.payload, {})
})

t.test('a key is good for one job', async (t) => {
  const admin = await freehold.newTenant()
  const body = { type: 'echo', idempotencyKey: 'once', payload: { a: 1, b: 2 } }
  const first = await enqueue(admin, body)
  const again = await enqueue(admin, { ...body, payload: { b: 2, a: 1 } })
  t.equal(again.status, 200, 'in whatever order its fields come')
  t.strictSame(again.body, first.body)
  await service.jobRunner.look(admin.tenantId)
  t.match(await enqueue(admin, body), { status: 200, body: { id: first.body.id, status: 'succeeded' } })
  for (const other of [{ payload: { a: 1 } }, { type: 'noop' }, { priority: 1 }]) {
    t.match((await enqueue(admin, { ...body, ...other })).body, { status: 409, code: 'idempotency_mismatch' })
  }
  t.equal(idsOf(await call('GET', '/api/jobs', { token: admin.token })).length, 1)
})

t.test('runAt, priority and age say which is next', async (t) => {
  const admin = await freehold.newTenant()
  const put = async (body: object) => String((await enqueue(admin, body)).body.id)
  // More than a worker takes at once.
  for (let n = 0; n < 10; n += 1) await put({ priority: -2 })
  const later = await put({ runAt: '2999-01-01T00:00:00Z', priority: 100 })
  const low = await put({ priority: -1 })
  const [a, b] = [await put({}), await put({ runAt: '0000-01-01T00:00:00Z' })]
  const high = await put({ priority: 1 })
  t.equal((await enqueue(admin, { runAt: '2999-12-31T23:59:60Z', priority: -2 })).status, 202, 'on no clock')
  await service.jobRunner.look(admin.tenantId)
  const done = await service.router.use(admin.tenantId, (db) =>
    db.selectFrom('jobs').select('id').where('status', '=', 'succeeded').orderBy('finished_at').execute(),
  )
  t.strictSame(
    done.slice(0, 4).map((row) => row.id),
    [high, a, b, low],
  )
  t.match((await get(admin, later)).body, {
    status: 'queued',
    attempts: 0,
    runAt: '2999-01-01T00:00:00.000Z',
  })
})

t.test('lists are filtered by status, type and workspace, and walked through newest first', async (t) => {
  const admin = await freehold.newTenant()
  const { body: workspace } = { body: { id: newId() } }
  await service.router.use(admin.tenantId, (db) =>
    db.insertInto('workspaces').values({ id: workspace.id, slug: 'w', name: 'W' }).execute(),
  )
  const ids: string[] = []
  for (let n = 0; n < 5; n += 1) {
    const { body } = await enqueue(admin, {
      type: n % 2 === 0 ? 'noop' : 'echo',
      ...(n === 3 ? { workspaceId: workspace.id } : {}),
    })
    ids.unshift(String(body.id))
  }
  await call('POST', `/api/jobs/${ids[0]}/cancel`, { token: admin.token })
  const list = async (query: string) => idsOf(await call('GET', `/api/jobs?${query}`, { token: admin.token }))
  t.strictSame(await list('type=echo'), [ids[1], ids[3]])
  t.strictSame(await list('status=cancelled'), [ids[0]])
  t.strictSame(await list(`workspaceId=${workspace.id}`), [ids[1]])
  t.strictSame(await list('status=queued&type=noop'), [ids[2], ids[4]])
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`
    const page = await call('GET', `/api/jobs?limit=2${query}`, { token: admin.token })
    seen.push(...idsOf(page))
    cursor = (page.body as unknown as { nextCursor: string | null }).nextCursor
  } while (cursor !== null)
  t.strictSame(seen, ids)
  const { body } = await call('GET', '/api/jobs', { token: admin.token })
  t.notMatch(JSON.stringify(body), /payload|result/, 'which may be large')
})

t.test('what has ended well is not cancelled, and not run again', async (t) => {
  const admin = await freehold.newTenant()
  const act = (id: unknown, action: string) =>
    call('POST', `/api/jobs/${String(id)}/${action}`, { token: admin.token })
  const { body: job } = await enqueue(admin)
  t.match((await act(job.id, 'retry')).body, { status: 'queued' }, 'it is on its way')
  t.match((await act(job.id, 'cancel')).body, { status: 'cancelled', finishedAt: String })
  t.match((await act(job.id, 'cancel')).body, { status: 'cancelled' }, 'twice is harmless')
  await service.jobRunner.look(admin.tenantId)
  t.match((await get(admin, job.id)).body, { status: 'cancelled', attempts: 0 })
  t.match((await act(job.id, 'retry')).body, { status: 'queued', finishedAt: null })
  await service.jobRunner.look(admin.tenantId)
  t.match((await get(admin, job.id)).body, { status: 'succeeded' })
  t.match((await act(job.id, 'cancel')).body, { status: 409, code: 'conflict' })
  t.match((await act(job.id, 'retry')).body, { status: 409, code: 'conflict' })
})

t.test("what became of a job is in the tenant's audit log, in the same transaction", async (t) => {
  const admin = await freehold.newTenant()
  const { body: job } = await enqueue(admin)
  for (const action of ['cancel', 'retry']) {
    await call('POST', `/api/jobs/${job.id}/${action}`, { token: admin.token })
  }
  await service.jobRunner.look(admin.tenantId)
  const actions = await service.router.use(admin.tenantId, (db) =>
    db
      .selectFrom('audit_log')
      .select(['action', 'actor_kind'])
      .where('entity_id', '=', String(job.id))
      .orderBy('id')
      .execute(),
  )
  t.strictSame(
    actions.map(({ action, actor_kind }) => `${action} by ${actor_kind}`),
    ['job.enqueued by person', 'job.cancelled by person', 'job.retried by person', 'job.succeeded by system'],
  )
  const { body: next } = await enqueue(admin)
  await freehold.asSuperuser(
    admin.tenantId,
    'alter table audit_log add constraint no_room check (false) not valid',
  )
  await service.jobRunner.look(admin.tenantId)
  t.match((await get(admin, next.id)).body, { status: 'queued', attempts: 1 }, 'no success without its entry')
  t.equal((await enqueue(admin)).status, 500)
})
