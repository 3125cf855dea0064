import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { createJobRunner } from '../../../src/tenant/jobs/looks.ts'
import type { TenantDb } from '../../../src/tenant/tenant-scope.ts'
import { type Answer, type Member, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service, asSuperuser } = freehold

const start = ({ token }: Member, csv: string): Promise<Answer> =>
  call('POST', '/api/jobs', {
    token,
    body: { type: 'users.import', idempotencyKey: newId(), payload: { csv } },
  })
const get = ({ token }: Member, id: unknown): Promise<Answer> =>
  call('GET', `/api/jobs/${String(id)}`, { token })
const addedPeople = ({ tenantId }: Member) =>
  asSuperuser(
    tenantId,
    "select email, first_name, last_name, status, person_id, created_by from users where kind = 'added' order by id",
  )

t.test('people are added, and each row that was refused is named with its line and the reason', async (t) => {
  const admin = await freehold.newTenant()
  const csv = [
    '\ufeff"Last name",E-Mail,First_Name,Shoe size',
    'Lovelace,ada@example.com,Ada,38',
    '"Hopper, Admiral",grace@example.com,"Gra""ce"',
    'Nobody,,No,1',
    '',
    'Wrong,a@b,Wrong,1',
    'Again,ADA@example.com,Ada,1',
    `Long,long@example.com,${'x'.repeat(101)},1`,
    `Admin,${admin.email},Already,1`,
    'Zero,zero@example.com,a\u0007b,1',
    `${'x'.repeat(101)},last@example.com,Last,1`,
    ',bare@example.com,,',
  ].join('\r\n')
  const { body: job } = await start(admin, csv)
  await service.jobRunner.look(admin.tenantId)
  const { body } = await get(admin, job.id)
  t.strictSame(body.result, {
    added: 3,
    refused: 7,
    rows: [
      { line: 4, reason: 'there is no email' },
      { line: 6, reason: 'the email is none' },
      { line: 7, reason: 'somebody in the directory has this email' },
      { line: 8, reason: 'the first name is too long or no line of text' },
      { line: 9, reason: 'somebody in the directory has this email' },
      { line: 10, reason: 'the first name is too long or no line of text' },
      { line: 11, reason: 'the last name is too long or no line of text' },
    ],
  })
  t.match(body, { status: 'succeeded', progress: { done: 10, total: 10 } })
  const told = "select entity_id, details from audit_log where action = 'users.imported'"
  t.strictSame(await asSuperuser(admin.tenantId, told), [{ entity_id: job.id, details: { added: 3 } }])
  const common = { status: 'active', person_id: null, created_by: String }
  t.match(await addedPeople(admin), [
    { email: 'ada@example.com', first_name: 'Ada', last_name: 'Lovelace', ...common },
    { email: 'grace@example.com', first_name: 'Gra"ce', last_name: 'Hopper, Admiral', ...common },
    { email: 'bare@example.com', first_name: null, last_name: null, ...common },
  ])
})

t.test('whoever began it may be gone by then, and of many refused rows the first are listed', async (t) => {
  const admin = await freehold.newTenant()
  const rows = Array.from({ length: 1_100 }, (_, n) => `nobody ${n}`)
  const { body: job } = await start(admin, ['email', 'ann@example.com', ...rows].join('\n'))
  await asSuperuser(admin.tenantId, 'delete from users')
  await service.jobRunner.look(admin.tenantId)
  const { body } = await get(admin, job.id)
  t.match(body, { status: 'succeeded', result: { added: 1, refused: 1_100 } })
  t.equal((body.result as unknown as { rows: unknown[] }).rows.length, 1_000)
  t.match(await addedPeople(admin), [{ email: 'ann@example.com', created_by: null }])
})

t.test('what is no CSV fails at once, and says where; a payload that is none is refused', async (t) => {
  const admin = await freehold.newTenant()
  const { body: job } = await start(admin, 'email\n"a@example.com\nb@example.com')
  await service.jobRunner.look(admin.tenantId)
  const { body } = await get(admin, job.id)
  t.match(body, { status: 'failed', attempts: 1, error: /no CSV that can be read/ })
  t.notMatch(String(body.error), 'example.com')
  const faultsOf = async (payload: unknown): Promise<unknown> => {
    const body = { type: 'users.import', idempotencyKey: 'k', payload }
    const answer = await call('POST', '/api/jobs', { token: admin.token, body })
    t.match(answer, { status: 400, body: { code: 'validation_failed' } })
    return answer.body.errors
  }
  t.same(await faultsOf({ csv: 7 }), [{ path: '/payload/csv', message: 'must be string' }])
  t.same(await faultsOf({}), [{ path: '/payload/csv', message: 'is required' }])
  t.same(await faultsOf({ csv: 'email', more: 1 }), [
    { path: '/payload/more', message: 'is not a known field' },
  ])
})

t.test('a file that would keep a worker from all others is refused', async (t) => {
  const admin = await freehold.newTenant()
  const files = {
    rows: `email\n${'a\n'.repeat(100_001)}`,
    columns: `email${','.repeat(9_996)}`,
  }
  const jobs = { rows: await start(admin, files.rows), columns: await start(admin, files.columns) }
  await service.jobRunner.look(admin.tenantId)
  const outcome = async (job: Answer) => (await get(admin, job.body.id)).body
  t.match(await outcome(jobs.rows), { status: 'failed', attempts: 1, error: /more than 100000 rows/ })
  t.match(await outcome(jobs.columns), { status: 'failed', attempts: 1, error: /^Line 1 has more/ })
})

t.test('only who may add people may have them imported', async (t) => {
  const admin = await freehold.newTenant()
  const make = async (path: string, body: object) => {
    const answer = await call('POST', path, { token: admin.token, body })
    if (answer.status !== 201) throw new Error(answer.text)
    return String(answer.body.id)
  }
  const policies = [await make('/api/policies', { name: 'P', permissions: ['tenant-api:job:*'] })]
  await make('/api/roles', { name: 'Runner', policies })
  const runner = await freehold.join(admin, 'Basic')
  await call('PATCH', `/api/members/${runner.personId}`, { token: admin.token, body: { role: 'Runner' } })
  const as = (method: string, url: string, body?: object) => call(method, url, { token: runner.token, body })
  const refused = { code: 'forbidden', detail: /tenant-api:user:create/ }

  t.match((await start(runner, 'email\nada@example.com')).body, refused)
  const payload = { csv: 'email\nada@example.com' }
  const schedule = { name: 'Import', type: 'users.import', cron: '0 6 * * *', payload }
  t.match((await as('POST', '/api/schedules', schedule)).body, refused, 'nor by the clock')
  const noops = await as('POST', '/api/schedules', { ...schedule, type: 'noop' })
  t.equal(noops.status, 201)
  const url = `/api/schedules/${String(noops.body.id)}`
  t.match(
    (await as('PATCH', url, { type: 'users.import' })).body,
    refused,
    'nor by a schedule that was another',
  )
  const { body: job } = await start(admin, payload.csv)
  await call('POST', `/api/jobs/${job.id}/cancel`, { token: admin.token })
  t.match((await as('POST', `/api/jobs/${String(job.id)}/retry`)).body, refused, "nor somebody else's again")
  t.match((await get(admin, job.id)).body, { status: 'cancelled' })
})

t.test('an import that breaks off goes on where it was, and nobody is there twice or left out', async (t) => {
  const admin = await freehold.newTenant()
  const total = 1_203
  const csv = ['email', ...Array.from({ length: total }, (_, n) => `p${n}@example.com`)].join('\n')
  const { body: job } = await start(admin, csv)
  const { router, wakeUps, log, jobTypes } = service
  let transactions = 0
  const breaking = (db: TenantDb): TenantDb =>
    Object.create(db, {
      transaction: {
        value: () => {
          transactions += 1
          if (transactions === 2) throw new Error('the worker breaks off')
          return db.transaction()
        },
      },
    })
  await createJobRunner({
    ...{ workerId: newId(), jobTypes, planOf: async () => undefined, wakeUps, log },
    use: (tenantId, work, options) =>
      router.use(tenantId, (db) => work(options?.signal === undefined ? db : breaking(db)), options),
  }).look(admin.tenantId)
  t.match((await get(admin, job.id)).body, { status: 'queued', attempts: 1, progress: { done: 500, total } })
  t.equal((await addedPeople(admin)).length, 500)
  await asSuperuser(admin.tenantId, 'update jobs set run_at = now()')
  await service.jobRunner.look(admin.tenantId)
  t.match((await get(admin, job.id)).body, {
    ...{ status: 'succeeded', attempts: 2, progress: { done: total, total } },
    result: { added: total, refused: 0, rows: [] },
  })
  t.equal((await addedPeople(admin)).length, total)
})
