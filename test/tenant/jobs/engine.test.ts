import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { AppError } from '../../../src/kernel/errors.ts'
import { newId } from '../../../src/kernel/ids.ts'
import { createLogger } from '../../../src/kernel/log.ts'
import { defineJobType, type JobContext, JobError } from '../../../src/tenant/jobs/job-type.ts'
import { createJobRunner } from '../../../src/tenant/jobs/looks.ts'
import { pauseAfter } from '../../../src/tenant/jobs/outcomes.ts'
import { jobTypesOf } from '../../../src/tenant/jobs/registry.ts'
import { transactionWithJobs } from '../../../src/tenant/jobs/wake-ups.ts'
import { startWorker } from '../../../src/worker.ts'
import { type Member, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { countingRunner, countingTypes, effectsTable, putJobs } from './counting.ts'

const postgres = await startTestPostgres(t, 'furnished')
const freehold = await startNode(t, postgres)
const { service, call, asSuperuser } = freehold
const runner = countingRunner(service)

const newTenant = async (): Promise<Member> => {
  const admin = await freehold.newTenant()
  await asSuperuser(admin.tenantId, effectsTable)
  return admin
}
type Seen = { status: string; attempts: number; error: string | null; effects: number; audited: string }
/** A job as its tenant's database has it, with the number of its effects and its audit entries but for the first. */
const see = async (tenantId: string, id: string): Promise<Seen> => {
  const [row] = await asSuperuser(
    tenantId,
    `select status, attempts, error, (select count(*)::int from effects where job_id = jobs.id) as effects,
            coalesce((select string_agg(action, ' ' order by id) from audit_log where entity_id = jobs.id), '') as audited
       from jobs where id = '${id}'`,
  )
  return row as Seen
}
const put = async (tenantId: string, type: string, more: { payload?: unknown; maxAttempts?: number } = {}) =>
  (await putJobs(service, tenantId, [{ type, ...more }]))[0] ?? ''

/** A runner whose `count` waits inside its transaction, its effect written, until it is let go. */
const gatedRunner = (wakeUps = service.wakeUps) => {
  const [entered, gate] = [Promise.withResolvers<JobContext>(), Promise.withResolvers<void>()]
  const count = defineJobType({
    name: 'count',
    summary: 'Waits.',
    payload: Type.Object({}),
    run: async (trx, _payload, context) => {
      await sql`insert into effects (job_id) values (${context.jobId}::uuid)`.execute(trx)
      entered.resolve(context)
      await gate.promise
      return 'late'
    },
  })
  const types = jobTypesOf([count])
  const patience = { heartbeatMs: 50, staleMs: 15_000 }
  return {
    runner: countingRunner({ ...service, wakeUps }, { types, patience }),
    entered: entered.promise,
    letGo: gate.resolve,
  }
}

t.test('a worker that was taken for lost cannot succeed any more when it wakes up', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'count')
  const types = gatedRunner()
  // Without heartbeats: it is asleep.
  const sleeper = countingRunner(service, {
    types: jobTypesOf([
      defineJobType({
        name: 'count',
        summary: 'Sleeps.',
        payload: Type.Object({}),
        run: async (trx, _payload, context) => {
          await sql`insert into effects (job_id) values (${context.jobId}::uuid)`.execute(trx)
          await types.entered
          return 'late'
        },
      }),
    ]),
  })
  const sleeping = sleeper.look(tenantId)
  const claimed = async () =>
    (await asSuperuser(tenantId, "select 1 from jobs where status = 'running'")).length === 1
  await until(claimed)
  await asSuperuser(tenantId, "update jobs set heartbeat_at = now() - interval '16 s'")
  const other = types.runner.look(tenantId)
  await types.entered
  types.letGo()
  await Promise.all([sleeping, other])
  t.match(await see(tenantId, id), { status: 'succeeded', attempts: 2, effects: 1, audited: 'job.succeeded' })
})

/** A job of two steps, of which each has an effect, that waits in the first one, its effect written, as its runner says. */
const steppingRunner = (inFirst: () => Promise<void>, inSecond: () => Promise<void> = async () => {}) =>
  countingRunner(service, {
    types: jobTypesOf([
      defineJobType({
        name: 'stepping',
        summary: 'Takes two steps.',
        payload: Type.Object({}),
        steps:
          () =>
          async (trx, state: number | undefined, { jobId }) => {
            if (state !== undefined) await inSecond()
            await sql`insert into effects (job_id) values (${jobId}::uuid)`.execute(trx)
            if (state !== undefined) return { result: null }
            await inFirst()
            return { state: 1 }
          },
      }),
    ]),
  })

const overtaken: Record<string, () => void> = {
  'cannot keep a step that the other one has done': () => {},
  'and fails then ends nothing of the other one': () => {
    throw new JobError('It woke up in pieces.', { final: true })
  },
}
for (const [what, wakesUp] of Object.entries(overtaken)) {
  t.test(`a worker that was taken for lost ${what}`, async (t) => {
    const { tenantId } = await newTenant()
    const id = await put(tenantId, 'stepping')
    const [asleep, wake] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const sleeping = steppingRunner(async () => {
      asleep.resolve()
      await wake.promise
      wakesUp()
    }).look(tenantId)
    await asleep.promise
    await asSuperuser(tenantId, "update jobs set heartbeat_at = now() - interval '16 s'")
    const [between, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const other = steppingRunner(
      async () => {},
      async () => {
        between.resolve()
        await goOn.promise
      },
    ).look(tenantId)
    await between.promise
    wake.resolve()
    await sleeping
    t.match(await see(tenantId, id), { status: 'running', attempts: 2, effects: 1, error: /was lost/ })
    goOn.resolve()
    await other
    t.match(await see(tenantId, id), { status: 'succeeded', effects: 2, audited: 'job.succeeded' })
  })
}

t.test('a try that takes too long is stopped and leaves nothing', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'count', { payload: { seconds: 600 }, maxAttempts: 1 })
  await countingRunner(service, { patience: { heartbeatMs: 20, longestMs: 40 } }).look(tenantId)
  t.match(await see(tenantId, id), { status: 'failed', attempts: 1, effects: 0, error: 'It took too long.' })
})

t.test('a running job is cancelled at once, hears of it, and leaves nothing', async (t) => {
  const admin = await newTenant()
  const id = await put(admin.tenantId, 'count')
  const gated = gatedRunner()
  const looking = gated.runner.look(admin.tenantId)
  const { signal } = await gated.entered
  const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  const cancelled = await call('POST', `/api/jobs/${id}/cancel`, { token: admin.token })
  t.match(cancelled.body, { status: 'cancelled' })
  await aborted
  gated.letGo()
  await looking
  t.match(await see(admin.tenantId, id), {
    status: 'cancelled',
    effects: 0,
    audited: 'job.cancelled',
    error: null,
  })
})

t.test('cancelled or succeeded: of the two exactly one happens', async (t) => {
  const admin = await newTenant()
  const outcomes = new Set<string>()
  for (let round = 0; round < 20; round += 1) {
    const id = await put(admin.tenantId, 'count')
    const [answer] = await Promise.all([
      call('POST', `/api/jobs/${id}/cancel`, { token: admin.token }),
      runner.look(admin.tenantId),
    ])
    const job = await see(admin.tenantId, id)
    outcomes.add(job.status)
    if (answer.status === 200) t.match(job, { status: 'cancelled', effects: 0, audited: 'job.cancelled' })
    else t.match(job, { status: 'succeeded', effects: 1, audited: 'job.succeeded' })
  }
  t.comment([...outcomes].join(', '))
})

t.test(
  'a failed try leaves nothing, is followed by another after a pause, and the last one is the end',
  async (t) => {
    const { tenantId, token } = await newTenant()
    const id = await put(tenantId, 'fail', { maxAttempts: 2 })
    await runner.look(tenantId)
    t.match(await see(tenantId, id), {
      status: 'queued',
      attempts: 1,
      effects: 0,
      error: 'It was told to fail.',
      audited: '',
    })
    const [pause] = await asSuperuser(tenantId, "select run_at > now() + interval '1 s' as later from jobs")
    t.match(pause, { later: true })
    await runner.look(tenantId)
    t.match(await see(tenantId, id), { attempts: 1 }, 'not before its time')
    await asSuperuser(tenantId, 'update jobs set run_at = now()')
    await runner.look(tenantId)
    t.match(await see(tenantId, id), { status: 'failed', attempts: 2, effects: 0, audited: 'job.failed' })
    await call('POST', `/api/jobs/${id}/retry`, { token })
    await runner.look(tenantId)
    t.match(
      await see(tenantId, id),
      { status: 'queued', attempts: 1 },
      'run again it has all its tries again',
    )
  },
)

t.test('a failure that no further try would mend is the end at once', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'fail', { payload: { final: true } })
  const misfit = await put(tenantId, 'fail', { payload: { final: 'yes' } })
  await runner.look(tenantId)
  t.match(await see(tenantId, id), { status: 'failed', attempts: 1, effects: 0 })
  t.match(await see(tenantId, misfit), { status: 'failed', error: /\/payload\/final/ })
})

t.test('a type that this release does not know is left to one that does', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'of-tomorrow')
  await runner.look(tenantId)
  t.match(await see(tenantId, id), { status: 'queued', attempts: 1, error: /knows no jobs of the type/ })
})

t.test('a result that cannot be stored is the end at once', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'zero')
  const zero = defineJobType({
    name: 'zero',
    summary: 'Answers what no database takes.',
    payload: Type.Object({}),
    run: async () => ['\0'],
  })
  await countingRunner(service, { types: jobTypesOf([zero]) }).look(tenantId)
  t.match(await see(tenantId, id), { status: 'failed', attempts: 1, error: /^The result/ })
})

t.test(
  'an error that nobody wrote for the tenant is neither in the job nor, with its words, in the log',
  async (t) => {
    const { tenantId } = await newTenant()
    const id = await put(tenantId, 'fail', { payload: { words: 'canary-0001' }, maxAttempts: 1 })
    const lines: string[] = []
    const log = createLogger('trace', { write: (line: string) => void lines.push(line) })
    const { router, wakeUps } = service
    await createJobRunner({
      ...{ workerId: newId(), jobTypes: countingTypes, planOf: async () => undefined, wakeUps, log },
      use: (tenant, work, options) => router.use(tenant, work, options),
    }).look(tenantId)
    const job = await see(tenantId, id)
    t.match(job, { status: 'failed', error: /on our side/ })
    t.match(lines.join(''), id, 'the log names the job')
    t.notMatch(lines.join('') + JSON.stringify(job), 'canary-0001')
  },
)

t.test('a job that kills its workers fails after its last attempt', async (t) => {
  const { tenantId } = await newTenant()
  const loseAt = async (attempts: number): Promise<string> => {
    const id = await put(tenantId, 'count', { maxAttempts: 2 })
    await asSuperuser(
      tenantId,
      `update jobs set status = 'running', attempts = ${attempts}, worker_id = '${newId()}', heartbeat_at = now() - interval '16 s',
              run_at = now() + interval '1 h' where id = '${id}'`,
    )
    await runner.look(tenantId)
    return id
  }
  const alive = await put(tenantId, 'count')
  await asSuperuser(
    tenantId,
    `update jobs set status = 'running', attempts = 1, worker_id = '${newId()}', heartbeat_at = now() + interval '1 h'`,
  )
  const lost = { status: 'failed', effects: 0, audited: 'job.failed', error: /was lost/ }
  t.match(await see(tenantId, await loseAt(2)), lost)
  t.match(await see(tenantId, await loseAt(1)), { status: 'succeeded', attempts: 2, effects: 1 })
  t.match(
    await see(tenantId, alive),
    { status: 'running', attempts: 1 },
    'and from no other worker one is taken',
  )
})

t.test('a job that finds no connection waits for one, and that is no attempt', async (t) => {
  const { tenantId } = await newTenant()
  const ids = await putJobs(service, tenantId, [{ type: 'count' }, { type: 'count' }])
  const { router, wakeUps, log } = service
  await createJobRunner({
    ...{ workerId: newId(), jobTypes: countingTypes, planOf: async () => undefined, wakeUps, log },
    use: (tenant, work, options) =>
      options?.signal === undefined
        ? router.use(tenant, work, options)
        : Promise.reject(new AppError('overloaded', 'No connection.')),
  }).look(tenantId)
  for (const id of ids) t.match(await see(tenantId, id), { status: 'queued', attempts: 0, effects: 0 })
})

t.test('a turn ends although there is more to do, and what it had taken is given back', async (t) => {
  const { tenantId } = await newTenant()
  await putJobs(
    service,
    tenantId,
    Array.from({ length: 12 }, () => ({ type: 'count', payload: { seconds: 0.3 } })),
  )
  await runner.look(tenantId)
  const rows = await asSuperuser(
    tenantId,
    'select status, attempts, count(*)::int as n from jobs group by 1, 2 order by 1',
  )
  t.equal(rows.length, 2, JSON.stringify(rows))
  t.match(rows, [
    { status: 'queued', attempts: 0 },
    { status: 'succeeded', attempts: 1 },
  ])
  t.ok(Number(rows[1]?.n) < 8, 'so that other tenants have their turn')
})

const marks = async (tenantId: string) =>
  (
    await sql<{ ahead: number }>`
      select extract(epoch from wake_at - now())::float8 as ahead from tenant_wakeups where tenant_id = ${tenantId}::uuid
       order by wake_at`.execute(service.master.db)
  ).rows.map(({ ahead }) => ahead)
const looks = async (tenantId: string) =>
  (await sql`select from graphile_worker.jobs where key = ${`jobs:${tenantId}`}`.execute(service.master.db))
    .rows.length
const dropLooks = () => sql`delete from graphile_worker._private_jobs`.execute(service.master.db)
const { db: master } = service.master

t.test('a node that dies between its commit and the queue has left a mark that finds the job', async (t) => {
  const { tenantId } = await newTenant()
  const dying = { ...service, wakeUps: { ...service.wakeUps, soon: () => {} } }
  const [id = ''] = await putJobs(dying, tenantId, [{ type: 'count' }])
  const [ahead = 0] = await marks(tenantId)
  t.ok(ahead > 14 && ahead <= 25, `the mark lies ${ahead} s ahead`)
  await service.wakeUps.queueDue()
  t.equal(await looks(tenantId), 0, 'its time has not come')
  await sql`update tenant_wakeups set wake_at = now() - interval '1 s' where tenant_id = ${tenantId}::uuid`.execute(
    master,
  )
  await master.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', tenantId).execute()
  await service.wakeUps.queueDue()
  t.equal(await looks(tenantId), 0, 'nor while its tenant is suspended')
  await master.updateTable('tenants').set({ status: 'active' }).where('id', '=', tenantId).execute()
  const worker = await startWorker({ ...service, jobRunner: runner })
  await until(async () => (await see(tenantId, id)).status === 'succeeded')
  await worker.stop()
})

t.test('without a promised look nothing is put in, and no transaction outlives its promise', async (t) => {
  const { tenantId } = await newTenant()
  const refuse = (): Promise<void> => Promise.reject(new Error('no master'))
  const cut = { ...service, wakeUps: { ...service.wakeUps, promise: refuse } }
  await t.rejects(putJobs(cut, tenantId, [{ type: 'count' }]), /no master/)
  t.strictSame(await asSuperuser(tenantId, 'select from jobs'), [])
  const limits = await service.router.use(tenantId, (db) =>
    transactionWithJobs(service.wakeUps, { tenantId, db }, (trx) =>
      sql`select current_setting('statement_timeout') as statement, current_setting('transaction_timeout') as whole`.execute(
        trx,
      ),
    ),
  )
  t.strictSame(limits.rows, [{ statement: '2s', whole: '8s' }])
})

t.test('the promise is renewed before it is too near, and a look leaves one for the next time', async (t) => {
  const { tenantId } = await newTenant()
  await service.wakeUps.promise(tenantId)
  await service.wakeUps.promise(tenantId)
  t.equal((await marks(tenantId)).length, 1)
  await dropLooks()
  await put(tenantId, 'fail')
  await sql`delete from tenant_wakeups`.execute(master)
  await runner.look(tenantId)
  const [ahead = 0] = await marks(tenantId)
  t.ok(ahead > 0 && ahead < 7, `the next try is looked for in ${ahead} s`)
})

t.test('nothing is run without a promised look, and a look that fails is made up for', async (t) => {
  const { tenantId } = await newTenant()
  const id = await put(tenantId, 'count')
  const refuse = (): Promise<void> => Promise.reject(new Error('no master'))
  const cut = { ...service, wakeUps: { ...service.wakeUps, promise: refuse } }
  await t.rejects(countingRunner(cut).look(tenantId), /no master/)
  t.match(await see(tenantId, id), { status: 'queued', attempts: 0 })
  await sql`delete from tenant_wakeups`.execute(master)
  const full = { use: () => Promise.reject(new AppError('overloaded', 'No connection.')) }
  await countingRunner({ ...service, router: full as never }).look(tenantId)
  const [ahead = 0] = await marks(tenantId)
  t.ok(ahead > 5 && ahead < 12, `looked for again in ${ahead} s`)
})

t.test('while a job runs, the look for it is promised ever again, and for its loss too', async (t) => {
  const { tenantId } = await newTenant()
  await put(tenantId, 'count')
  let promised = 0
  const promise = async (): Promise<void> => {
    promised += 1
  }
  const gated = gatedRunner({ ...service.wakeUps, promise })
  const looking = gated.runner.look(tenantId)
  await gated.entered
  await until(async () => promised > 2)
  await sql`delete from tenant_wakeups`.execute(master)
  await runner.look(tenantId)
  const [ahead = 0] = await marks(tenantId)
  t.ok(ahead > 10 && ahead < 19, `a loss would be noticed in ${ahead} s`)
  gated.letGo()
  await looking
})

t.test('more looks at once than a tenant may have turns are made up for when one has ended', async (t) => {
  const { tenantId } = await newTenant()
  const letGo = Promise.withResolvers<void>()
  let inside = 0
  const waiting = steppingRunner(() => {
    inside += 1
    return letGo.promise
  })
  const looking: Promise<void>[] = []
  for (let turn = 1; turn <= 3; turn += 1) {
    await put(tenantId, 'stepping')
    looking.push(waiting.look(tenantId))
    await until(async () => inside === turn)
  }
  const id = await put(tenantId, 'stepping')
  await waiting.look(tenantId)
  t.match(await see(tenantId, id), { status: 'queued', attempts: 0 }, 'a fourth turn there is not')
  await asSuperuser(tenantId, `update jobs set run_at = now() + interval '1 h' where id = '${id}'`)
  await dropLooks()
  letGo.resolve()
  await Promise.all(looking)
  t.equal(await looks(tenantId), 1)
})

t.test('another database of a tenant is looked at', async (t) => {
  const { tenantId } = await newTenant()
  const spare = await master
    .selectFrom('databases')
    .select('id')
    .where('status', '=', 'spare')
    .executeTakeFirst()
  await sql`delete from tenant_wakeups`.execute(master)
  await master
    .transaction()
    .execute(async (trx) => {
      await trx
        .updateTable('tenants')
        .set({ database_id: spare?.id ?? null })
        .where('id', '=', tenantId)
        .execute()
      t.equal(
        (await sql`select from tenant_wakeups where tenant_id = ${tenantId}::uuid`.execute(trx)).rows.length,
        1,
      )
      throw new Error('back')
    })
    .catch(() => {})
})

t.test('one key from two nodes at once: one job', async (t) => {
  const admin = await newTenant()
  const second = await startNode(t, postgres)
  const rounds = Number(process.env.ROUNDS ?? 20)
  for (let round = 0; round < rounds; round += 1) {
    const body = { type: 'noop', idempotencyKey: `round-${round}` }
    const answers = await Promise.all(
      [call, second.call, call, second.call].map((ask) =>
        ask('POST', '/api/jobs', { token: admin.token, body }),
      ),
    )
    const ids = new Set(answers.map((answer) => answer.body.id))
    const codes = answers.map(({ status }) => status).sort()
    if (ids.size !== 1 || codes.join() !== '200,200,200,202') t.fail(`round ${round}: ${codes.join()}`)
  }
  const [row] = await asSuperuser(
    admin.tenantId,
    `select count(*)::int as jobs, (select count(*)::int from audit_log where action = 'job.enqueued') as entries from jobs`,
  )
  t.match(row, { jobs: rounds, entries: rounds })
})

t.test("one tenant's 100,000 jobs do not hold up another one's", async (t: Test) => {
  const [noisy, quiet] = [await newTenant(), await newTenant()]
  await asSuperuser(
    noisy.tenantId,
    `insert into jobs (id, type, payload, max_attempts, idempotency_key, body_hash)
     select gen_random_uuid(), 'noop', '{}', 5, 'n' || n, '' from generate_series(1, 100000) n`,
  )
  const worker = await startWorker({ ...service, jobRunner: runner })
  await service.wakeUps.now(noisy.tenantId)
  const done = async ({ tenantId }: Member) =>
    Number((await asSuperuser(tenantId, "select count(*) as n from jobs where status = 'succeeded'"))[0]?.n)
  await until(async () => (await done(noisy)) > 100)
  const before = await done(noisy)
  await put(quiet.tenantId, 'count')
  await until(async () => (await done(quiet)) === 1)
  const meanwhile = (await done(noisy)) - before
  await worker.stop()
  t.ok(meanwhile < 3_000, `${meanwhile} jobs of the noisy tenant were done meanwhile`)
})

t.test('pauses grow, are never the same, and have a limit', async (t) => {
  t.strictSame(
    [1, 2, 3, 4, 5, 6, 25].map((n) => pauseAfter(n, () => 1)),
    [5, 20, 80, 320, 1280, 3600, 3600],
  )
  t.equal(
    pauseAfter(1, () => 0),
    2.5,
  )
})
