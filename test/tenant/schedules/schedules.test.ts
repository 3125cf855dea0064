import { sql } from 'kysely'
import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { cronErrors, nextTime } from '../../../src/tenant/schedules/cron.ts'
import { planHands } from '../../control/plans/hands.ts'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { type Answer, type Member, startFreehold } from '../../helpers/freehold.ts'
import { databaseOf } from '../../helpers/tenant-manager.ts'
import { until } from '../../helpers/until.ts'

const freehold = await startFreehold(t)
const { call, service, asSuperuser } = freehold

const daily = { name: 'Nightly', type: 'echo', payload: { a: 1 }, cron: '0 6 * * *' }
const create = ({ token }: Member, body: object = {}): Promise<Answer> =>
  call('POST', '/api/schedules', { token, body: { ...daily, ...body } })
const make = async (member: Member): Promise<string> => String((await create(member)).body.id)
const notFound = { status: 404, code: 'not_found' }
const badId = { name: 'an id that is none', url: '/api/schedules/1%20or%201=1' }
const bad = [
  { name: 'an unknown type', body: { ...daily, type: 'launch' } },
  { name: 'a cron expression that is none', body: { ...daily, cron: 'every day' } },
  { name: 'one with seconds', body: { ...daily, cron: '* * * * * *' } },
  { name: 'one that never comes', body: { ...daily, cron: '0 0 31 2 *' } },
  { name: 'a time zone that is none', body: { ...daily, timeZone: 'Mars/Olympus' } },
  { name: 'a payload that cannot be stored', body: { ...daily, payload: '\0' } },
  { name: 'an unknown field', body: { ...daily, nextAt: '2030-01-01T00:00:00Z' } },
]

keepsFivePromises(t, freehold, 'POST /api/schedules', {
  method: 'POST',
  url: () => '/api/schedules',
  body: daily,
  status: 201,
  bad,
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 201),
})

keepsFivePromises(t, freehold, 'GET /api/schedules', {
  method: 'GET',
  url: () => '/api/schedules',
  status: 200,
  bad: [{ name: 'a made-up cursor', url: '/api/schedules?cursor=abc' }],
  forbiddenTo: 'Basic',
  make,
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

keepsFivePromises(t, freehold, 'GET /api/schedules/:id', {
  method: 'GET',
  url: (id) => `/api/schedules/${id}`,
  status: 200,
  bad: [badId],
  forbiddenTo: 'Basic',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'PATCH /api/schedules/:id', {
  method: 'PATCH',
  url: (id) => `/api/schedules/${id}`,
  body: { name: 'Later', cron: '0 7 * * *' },
  status: 200,
  bad: [badId, { name: 'an empty change', body: {} }, ...bad],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

keepsFivePromises(t, freehold, 'DELETE /api/schedules/:id', {
  method: 'DELETE',
  url: (id) => `/api/schedules/${id}`,
  status: 204,
  bad: [badId],
  forbiddenTo: 'Viewer',
  make,
  elsewhere: notFound,
})

const jobsOf = ({ tenantId }: Member) =>
  asSuperuser(tenantId, 'select status, schedule_id, idempotency_key, result from jobs order by id')

t.test('a time that has come has one job, whoever looks, and missed times have one together', async (t) => {
  const admin = await freehold.newTenant()
  const { body: schedule } = await create(admin)
  t.match(schedule, {
    enabled: true,
    timeZone: 'UTC',
    nextAt: /T06:00:00.000Z$/,
    lastAt: null,
    lastJobId: null,
  })
  await service.jobRunner.look(admin.tenantId)
  t.strictSame(await jobsOf(admin), [], 'not before its time')
  const missed = '2026-01-05T06:00:00.000Z'
  await create(admin, { name: 'Of another time' })
  await asSuperuser(
    admin.tenantId,
    `update job_schedules set next_at = '${missed}' where id = '${String(schedule.id)}'`,
  )
  await Promise.all([1, 2, 3].map(() => service.jobRunner.look(admin.tenantId)))
  await service.jobRunner.look(admin.tenantId)
  t.match(await jobsOf(admin), [
    {
      status: 'succeeded',
      schedule_id: schedule.id,
      idempotency_key: `schedule:${schedule.id}:${missed}`,
      result: { a: 1 },
    },
  ])
  t.equal((await jobsOf(admin)).length, 1)
  const { body: after } = await call('GET', `/api/schedules/${schedule.id}`, { token: admin.token })
  t.match(after, { lastAt: missed, lastJobId: String, nextAt: /T06:00:00.000Z$/ })
  t.ok(Date.parse(String(after.nextAt)) > Date.now())
  const listed = await call('GET', `/api/jobs?scheduleId=${schedule.id}`, { token: admin.token })
  t.match(listed.body, { data: [{ id: after.lastJobId, scheduleId: schedule.id }] })
})

t.test('a time for which the plan allows no job is left out, and the audit log says why', async (t) => {
  const admin = await freehold.newTenant()
  const { newPlan, givePlan } = await planHands(freehold)
  await givePlan(admin.tenantId, await newPlan({ jobsPerDay: 1 }))
  const id = await make(admin)
  const come = async (): Promise<number> => {
    await asSuperuser(admin.tenantId, "update job_schedules set next_at = now() - interval '1 s'")
    await service.jobRunner.look(admin.tenantId)
    const [row] = await asSuperuser(admin.tenantId, 'select count(*)::int as n from jobs')
    return Number(row?.n)
  }
  t.equal(await come(), 1)
  t.equal(await come(), 1, 'the second one of the day')
  const { body } = await call('GET', `/api/schedules/${id}`, { token: admin.token })
  t.ok(new Date(String(body.nextAt)) > new Date(), 'it goes on with its next time')
  const leftOut =
    "select entity_id, details->>'code' as code from audit_log where action = 'schedule.left_out'"
  const told = { entity_id: id, code: 'plan_limit_reached' }
  t.strictSame(await asSuperuser(admin.tenantId, leftOut), [told])
  t.equal(await come(), 1, 'and the third')
  t.strictSame(await asSuperuser(admin.tenantId, leftOut), [told], 'which is not told again')
  await givePlan(admin.tenantId, await newPlan({ jobsPerDay: 2 }))
  t.equal(await come(), 2, 'a larger plan has room again')
  await givePlan(admin.tenantId, await newPlan())
  t.equal(await come(), 3)
  const ended = { status: 'expired' as const, ends_at: new Date(), trials: [] }
  await service.master.db
    .insertInto('subscriptions')
    .values({ tenant_id: admin.tenantId, ...ended })
    .onConflict((conflict) => conflict.column('tenant_id').doUpdateSet(ended))
    .execute()
  t.equal(await come(), 3, 'nor is there any when the plan has ended')
  t.strictSame(await asSuperuser(admin.tenantId, leftOut), [told, told], 'there was one in between')
})

t.test('its next look is promised, so that it is found when nobody asks', async (t) => {
  const admin = await freehold.newTenant()
  const { body } = await create(admin)
  await service.jobRunner.look(admin.tenantId)
  const { rows } = await sql<{ late: number }>`
    select extract(epoch from wake_at - ${String(body.nextAt)}::timestamptz)::float8 as late
      from tenant_wakeups where tenant_id = ${admin.tenantId}::uuid order by wake_at desc limit 1`.execute(
    service.master.db,
  )
  t.ok(Math.abs(rows[0]?.late ?? Number.NaN) <= 1.5, JSON.stringify(rows))
})

t.test('one that this release cannot read any more holds up no other, and never comes again', async (t) => {
  const admin = await freehold.newTenant()
  const [strange, good] = [await make(admin), await make(admin)]
  await asSuperuser(
    admin.tenantId,
    `update job_schedules set next_at = '2026-01-05T06:00:00Z'; update job_schedules set cron = 'never heard of' where id = '${strange}'`,
  )
  await service.jobRunner.look(admin.tenantId)
  t.same(new Set((await jobsOf(admin)).map((job) => job.schedule_id)), new Set([strange, good]))
  const { body } = await call('GET', `/api/schedules/${strange}`, { token: admin.token })
  t.match(body, { nextAt: null, lastAt: String })
})

t.test('of two changes at once each keeps what the other has changed', async (t) => {
  const admin = await freehold.newTenant()
  const id = await make(admin)
  const client = await databaseOf(t, { db: service.master.db, superuser: freehold.superuser }, admin.tenantId)
  await client.query('begin')
  await client.query('select from job_schedules for update')
  const changes = [{ name: 'Other' }, { timeZone: 'Asia/Tokyo' }].map((body) =>
    call('PATCH', `/api/schedules/${id}`, { token: admin.token, body }),
  )
  const waits = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await until(async () => (await asSuperuser(admin.tenantId, waits)).length === 2)
  await client.query('commit')
  for (const answer of await Promise.all(changes)) t.equal(answer.status, 200)
  const { body } = await call('GET', `/api/schedules/${id}`, { token: admin.token })
  t.match(body, { name: 'Other', timeZone: 'Asia/Tokyo' })
})

t.test(
  'none is made without a promised look, nor in a transaction that could outlive its promise',
  async (t) => {
    const admin = await freehold.newTenant()
    await asSuperuser(
      admin.tenantId,
      "alter table job_schedules add constraint bounded check (current_setting('statement_timeout') = '2s') not valid",
    )
    t.equal((await create(admin)).status, 201)
    t.intercept(service.wakeUps, 'promise', { value: () => Promise.reject(new Error('no master')) })
    t.equal((await create(admin)).status, 500)
    t.equal((await asSuperuser(admin.tenantId, 'select from job_schedules')).length, 1)
  },
)

t.test('one that is switched off puts in nothing, and takes up again from now', async (t) => {
  const admin = await freehold.newTenant()
  const { body: schedule } = await create(admin, { enabled: false })
  t.equal(schedule.nextAt, null)
  const change = (body: object) =>
    call('PATCH', `/api/schedules/${schedule.id}`, { token: admin.token, body })
  t.match((await change({ enabled: true, timeZone: 'Asia/Tokyo' })).body, {
    ...{ name: 'Nightly', payload: { a: 1 }, nextAt: /T21:00:00.000Z$/, timeZone: 'Asia/Tokyo' },
  })
  t.match((await change({ enabled: false })).body, { nextAt: null })
  await service.jobRunner.look(admin.tenantId)
  t.strictSame(await jobsOf(admin), [])
})

t.test('another name or payload loses no time that has come', async (t) => {
  const admin = await freehold.newTenant()
  const id = await make(admin)
  await asSuperuser(admin.tenantId, "update job_schedules set next_at = '2026-01-05T06:00:00Z'")
  const body = { name: 'Renamed', payload: { a: 2 } }
  t.equal((await call('PATCH', `/api/schedules/${id}`, { token: admin.token, body })).status, 200)
  await service.jobRunner.look(admin.tenantId)
  t.match(await jobsOf(admin), [{ status: 'succeeded', schedule_id: id }])
})

t.test('jobs of a deleted schedule stay, and changes are in the audit log', async (t) => {
  const admin = await freehold.newTenant()
  const id = await make(admin)
  await asSuperuser(admin.tenantId, "update job_schedules set next_at = '2026-01-05T06:00:00Z'")
  await service.jobRunner.look(admin.tenantId)
  await call('PATCH', `/api/schedules/${id}`, { token: admin.token, body: { name: 'Other' } })
  t.equal((await call('DELETE', `/api/schedules/${id}`, { token: admin.token })).status, 204)
  t.match(await jobsOf(admin), [{ status: 'succeeded', schedule_id: null }])
  const entries = await asSuperuser(admin.tenantId, 'select action from audit_log order by id')
  t.strictSame(
    entries.map(({ action }) => action).filter((action) => /^(schedule|job)\./.test(String(action))),
    ['schedule.created', 'job.enqueued', 'job.succeeded', 'schedule.updated', 'schedule.deleted'],
  )
})

t.test('a key makes one schedule', async (t) => {
  const admin = await freehold.newTenant()
  const headers = { 'idempotency-key': newId() }
  const ask = () => call('POST', '/api/schedules', { token: admin.token, body: daily, headers })
  const [first, again] = [await ask(), await ask()]
  t.equal(again.body.id, first.body.id)
})

t.test('clocks that are put forward and back', async (t) => {
  const berlin = { timeZone: 'Europe/Berlin' }
  const times = (cron: string, from: string, count: number): string[] => {
    const found: string[] = []
    for (let at = new Date(from); found.length < count; ) {
      at = nextTime({ cron, ...berlin }, at) ?? at
      found.push(at.toISOString().slice(5, 16))
    }
    return found
  }
  const spring = times('30 2 * * *', '2027-03-27T02:00:00Z', 2)
  t.strictSame(spring, ['03-28T01:00', '03-29T00:30'], 'a time that is left out comes right after')
  const autumn = times('30 2 * * *', '2027-10-30T02:00:00Z', 2)
  t.strictSame(autumn, ['10-31T00:30', '11-01T01:30'], 'a time that comes twice is taken once')
  const hourly = times('0 * * * *', '2027-10-30T23:30:00Z', 3)
  t.strictSame(hourly, ['10-31T00:00', '10-31T01:00', '10-31T02:00'], 'what repeats goes on through both')
  t.strictSame(cronErrors({ cron: '0 0 29 2 *', timeZone: 'UTC' }, new Date('2026-01-01')), [])
})
