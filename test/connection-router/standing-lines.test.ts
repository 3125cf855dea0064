import t from 'tap'
import { Pace } from '../../src/connection-router/pace.ts'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import { TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { admit, newWaitQueue } from '../../src/connection-router/waiter.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { connectTo } from '../helpers/postgres.ts'
import { startWorld, type TestRouter, until } from './world.ts'

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

const statement = (router: TestRouter, tenantId: string): Promise<string | undefined> =>
  router.use(tenantId, async (db) => (await db.selectFrom('canary').selectAll().executeTakeFirst())?.word)

const transaction = (
  router: TestRouter,
  tenantId: string,
  until?: Promise<void>,
): Promise<string | undefined> =>
  router.use(tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      await until
      return (await trx.selectFrom('canary').selectAll().executeTakeFirst())?.word
    }),
  )

const waiting = (router: TestRouter, count: number): Promise<void> =>
  until(() => router.stats().waiters === count)

for (const [what, run] of Object.entries({ statement, transaction })) {
  world.test(`no further ${what} joins a long line that stands still; all in it are served`, async (t) => {
    const { clock, move } = handClock()
    const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
    const ended = Promise.withResolvers<void>()
    const busy = transaction(router, a.tenantId, ended.promise)
    await until(() => router.stats().clusters[0]?.busy === 1)
    const line = Array.from({ length: always - 1 }, () => run(router, a.tenantId))
    await waiting(router, always - 1)
    move(17_000)
    line.push(run(router, a.tenantId))
    await waiting(router, always)
    for (const hopeless of [1, 2]) {
      const error = await run(router, a.tenantId).catch((reason: unknown) => reason)
      t.ok(isAppError(error, 'overloaded'))
      t.match(error, { status: 503, retryAfter: 40 })
      t.match(router.stats(), { waiters: always, timeouts: 0, hopeless })
      move(60_000)
    }
    t.equal(await run(router, b.tenantId), b.tenantId, 'another tenant notices nothing')
    ended.resolve()
    await busy
    t.strictSame(new Set(await Promise.all(line)), new Set([a.tenantId]))
    t.equal(await run(router, a.tenantId), a.tenantId, 'and whoever comes then')
  })
}

world.test('a crowd that comes at once has hope, and so has who joins a line that moves', async (t) => {
  const { clock, move } = handClock()
  const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
  const ended = Array.from({ length: 300 }, () => Promise.withResolvers<void>())
  const line = ended.map(({ promise }) => transaction(router, a.tenantId, promise))
  await waiting(router, 299)
  for (const { resolve } of ended.slice(0, 100)) resolve()
  await waiting(router, 199)
  move(17_000)
  line.push(transaction(router, a.tenantId))
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
  const reads = Array.from({ length: 200 }, () => statement(router, a.tenantId))
  const locked = (): Promise<unknown[]> =>
    world.admin(
      `select 1 from pg_stat_activity where usename = '${a.address.user}' and wait_event_type = 'Lock'`,
    )
  await until(async () => (await locked()).length === 1)
  t.ok(router.stats().waiters >= always)
  // Those that were sent count as served in this window, and not in the next one.
  move(17_000)
  const perhaps = statement(router, a.tenantId).catch(() => a.tenantId)
  move(17_000)
  t.equal(await statement(router, a.tenantId).catch((error: { code?: string }) => error.code), 'overloaded')
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
