import t from 'tap'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

keepsFivePromises(t, freehold, 'GET /api/analytics/summary', {
  method: 'GET',
  url: () => '/api/analytics/summary',
  status: 200,
  bad: [],
  forbiddenTo: 'Basic',
  make: async ({ token }) => {
    await call('POST', '/api/projects', { token, body: { name: 'Bridge' } })
    return ''
  },
  elsewhere: (answer, _id, t) =>
    t.match(answer.body, { users: { members: 0 }, projects: { active: 0, archived: 0 } }),
})

t.test('the summary counts what there is, and changes by day', async (t) => {
  const admin = await freehold.newTenant()
  const { token, tenantId } = admin
  await service.manager.deliverOutbox(tenantId)
  const changes = async (): Promise<number> => {
    const { body } = await call('GET', '/api/analytics/summary', { token })
    const activity = body.activity as unknown as { changes: number }[]
    return activity.reduce((sum, day) => sum + day.changes, 0)
  }
  const before = await changes()
  for (const path of ['/api/projects', '/api/workspaces']) {
    for (const name of ['One', 'Two']) await call('POST', path, { token, body: { name } })
    const { body } = await call('POST', path, { token, body: { name: 'Three' } })
    await call('PATCH', `${path}/${body.id}`, { token, body: { archived: true } })
  }
  await call('POST', '/api/users', { token, body: { email: 'a@example.com', firstName: 'A' } })
  const job = { type: 'noop', idempotencyKey: 'one' }
  t.equal((await call('POST', '/api/jobs', { token, body: job })).status, 202)
  const { body } = await call('GET', '/api/analytics/summary', { token })
  t.match(body, {
    users: { members: 1, added: 1 },
    workspaces: { active: 2, archived: 1 },
    projects: { active: 2, archived: 1 },
    jobs: { queued: 1, running: 0, succeeded: 0, failed: 0, cancelled: 0 },
    activityComplete: true,
  })
  const activity = body.activity as unknown as { date: string; changes: number }[]
  t.equal(activity.length, 30)
  t.strictSame(
    activity.map(({ date }) => date),
    activity.map(({ date }) => date).toSorted(),
  )
  t.equal((await changes()) - before, 10)
})

t.test('days without changes are there, and what is older than 30 days is not', async (t) => {
  const { token, tenantId } = await freehold.newTenant()
  await freehold.asSuperuser(
    tenantId,
    `insert into audit_log (id, at, actor_kind, action, entity_type)
     select gen_random_uuid(), date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - n * interval '1 day', 'system', 'x', 'x'
     from unnest(array[29, 30, 3, 3]) n`,
  )
  const { body } = await call('GET', '/api/analytics/summary', { token })
  const activity = body.activity as unknown as { changes: number }[]
  t.strictSame([activity[0]?.changes, activity[26]?.changes, activity[25]?.changes], [1, 2, 0])
})
