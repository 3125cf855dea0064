import t from 'tap'
import { ClusterBudget } from '../../src/connection-router/cluster-budget.ts'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import { Pace } from '../../src/connection-router/pace.ts'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import { TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { admit, newWaitQueue } from '../../src/connection-router/waiter.ts'
import { Statement } from '../../src/connection-router/wire/statement.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { connectTo } from '../helpers/postgres.ts'
import { ModelConnection } from './budget-simulation.ts'
import { startWorld, type TestRouter, until, wordOf } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]

/** So many may wait in any case. */
const always = 64
/** Long enough for all that a test does while its clock stands still; what is served is counted over 16 s of it. */
const patience = { acquireTimeoutMs: 20_000 }

/** A clock that a test moves by hand. */
const handClock = () => {
  let now = Date.now()
  const move = (ms: number): void => {
    now += ms
  }
  return { clock: { now: () => new Date(now) }, move }
}

type Run = (router: TestRouter, tenant: PlacedTenant, ended?: Promise<void>) => Promise<string | undefined>

const transaction: Run = (router, { tenantId }, ended) =>
  router.use(tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      await ended
      return (await trx.selectFrom('canary').selectAll().executeTakeFirst())?.word
    }),
  )

const waiting = (router: TestRouter, count: number): Promise<void> =>
  until(() => router.stats().waiters === count)

for (const [what, run] of Object.entries({ statement: wordOf, transaction })) {
  world.test(`no further ${what} joins a long line that stands still; all in it are served`, async (t) => {
    const { clock, move } = handClock()
    const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
    const ended = Promise.withResolvers<void>()
    const busy = transaction(router, a, ended.promise)
    await until(() => router.stats().clusters[0]?.busy === 1)
    const line = Array.from({ length: always - 1 }, () => run(router, a))
    await waiting(router, always - 1)
    move(17_000)
    line.push(run(router, a))
    await waiting(router, always)
    for (const hopeless of [1, 2]) {
      const error = await run(router, a).catch((reason: unknown) => reason)
      t.ok(isAppError(error, 'overloaded'))
      t.match(error, { status: 503, retryAfter: 40 })
      t.match(router.stats(), { waiters: always, timeouts: 0, hopeless })
      move(60_000)
    }
    t.equal(await run(router, b), b.tenantId, 'another tenant notices nothing')
    ended.resolve()
    await busy
    t.strictSame(new Set(await Promise.all(line)), new Set([a.tenantId]))
    t.equal(await run(router, a), a.tenantId, 'and whoever comes then')
  })
}

world.test('a crowd that comes at once has hope, and so has who joins a line that moves', async (t) => {
  const { clock, move } = handClock()
  const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
  const ended = Array.from({ length: 300 }, () => Promise.withResolvers<void>())
  const line = ended.map(({ promise }) => transaction(router, a, promise))
  await waiting(router, 299)
  for (const { resolve } of ended.slice(0, 100)) resolve()
  await waiting(router, 199)
  move(17_000)
  line.push(transaction(router, a))
  await waiting(router, 200)
  for (const { resolve } of ended) resolve()
  t.strictSame(new Set(await Promise.all(line)), new Set([a.tenantId]))
  t.equal(router.stats().hopeless, 0)
})

world.test('a read whose connection died joins any line', async (t) => {
  const { clock, move } = handClock()
  const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
  const locker = await connectTo(t, { ...world.server.superuser, database: a.address.database })
  await locker.query('begin; lock table canary in access exclusive mode')
  const reads = Array.from({ length: 200 }, () => wordOf(router, a))
  const locked = (): Promise<unknown[]> =>
    world.admin(
      `select 1 from pg_stat_activity where usename = '${a.address.user}' and wait_event_type = 'Lock'`,
    )
  await until(async () => (await locked()).length === 1)
  t.ok(router.stats().waiters >= always)
  // Those that were sent count as served in this window, and not in the next one.
  move(17_000)
  // Whether this one has hope depends on how many were sent, which is the router's choice.
  const perhaps = wordOf(router, a).catch(() => a.tenantId)
  move(17_000)
  t.equal(await wordOf(router, a).catch((error: { code?: string }) => error.code), 'overloaded')
  await world.admin(
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${a.address.user}'`,
  )
  await locker.query('commit')
  t.strictSame(new Set(await Promise.all([...reads, perhaps])), new Set([a.tenantId]))
  t.ok(router.stats().retries > 0)
})

t.test('hope is four times what was served in the window before and in this one', async (t) => {
  const pace = new Pace()
  pace.begin(0)
  t.notOk(pace.isInVain(1_000, 799, 1_000), 'at first nobody knows')
  for (let n = 0; n < 20; n += 1) pace.served()
  t.notOk(pace.isInVain(80, 800, 1_000))
  t.ok(pace.isInVain(81, 801, 1_000))
  pace.served()
  t.notOk(pace.isInVain(84, 1_599, 1_000))
  t.ok(pace.isInVain(65, 1_600, 1_000), 'what was served long ago is forgotten')
  t.notOk(pace.isInVain(63, 1_600, 1_000))
  pace.begin(1_700)
  t.notOk(pace.isInVain(1_000, 2_499, 1_000), 'when nobody waited, it begins anew')
})

t.test('who waited before begins a line like anybody else', async (t) => {
  const pool = new TenantPool({ placement: a, identity: 'a', lookup: 1 })
  const { clock, move } = handClock()
  const join = (ahead: number, waitedBefore: boolean): void =>
    admit(
      { queue: newWaitQueue(), pool, ahead, waitedBefore },
      { timeoutMs: 5_000 },
      new RouterCounters(),
      clock,
    )
  join(0, false)
  move(60_000)
  join(0, true)
  t.doesNotThrow(() => join(always, false))
})

t.test('what is served at once counts as served', async (t) => {
  const pool = new TenantPool<ModelConnection>({ placement: a, identity: 'a', lookup: 1 })
  const opened: ModelConnection[] = []
  const cluster = new ClusterBudget<ModelConnection>({
    ...{
      clusterId: 'main',
      budget: 1,
      tenantMax: () => 1,
      clock: systemClock,
      counters: new RouterCounters(),
    },
    watch: { now: 0, add: () => {} },
    connect: (of, events) => {
      const connection = new ModelConnection(of, events)
      opened.push(connection)
      return connection
    },
    onEmpty: () => {},
  })
  const hold = (): Promise<void> =>
    cluster.acquire(pool, { timeoutMs: 60_000 }).then((slot) => cluster.release(slot))
  const text = {
    sql: 'a',
    leavesState: false,
    shareable: true,
    repeatable: false,
    cost: 0,
    worthNaming: false,
  }
  const state = (): void => {
    t.ok(cluster.sharing.tryRun(pool, new Statement(text, [], undefined)))
    opened[0]?.answer()
  }
  const first = hold()
  opened[0]?.succeed()
  await first
  for (const serve of [hold, state]) {
    pool.pace.begin(0)
    for (let n = 0; n < 20; n += 1) await serve()
    t.notOk(pool.pace.isInVain(80, 800, 1_000), serve.name)
  }
})
