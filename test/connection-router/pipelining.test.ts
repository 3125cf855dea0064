import { type RawBuilder, sql } from 'kysely'
import t from 'tap'
import { blocked, increment, inFlight, openInside, read, together } from './in-flight.ts'
import { startWorld, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]
const superuser = await openInside(world, a)
t.teardown(() => superuser.end())

const tenDividedBy = (n: number): RawBuilder<{ q: number }> => sql`select 10 / ${n}::int as q`

world.test('plain statements of a tenant share one connection, and each gets its own answer', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const ask = () =>
      Array.from({ length: 30 }, async (_, i) => (await tenDividedBy(i + 1).execute(db)).rows[0]?.q)
    const answers = await together(router, 30, ask)
    t.same(
      answers,
      Array.from({ length: 30 }, (_, i) => Math.trunc(10 / (i + 1))),
    )
  })
})

world.test('an error in the middle of thirty in flight touches only itself', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const ask = (divisors: number[]) => divisors.map((n) => tenDividedBy(n).execute(db))
    const ones = Array.from({ length: 30 }, () => 1)
    await together(router, 30, () => ask(ones))
    const opens = router.stats().opens
    const results = await Promise.allSettled(ask(ones.map((one, i) => (i === 15 ? 0 : one))))
    for (const [i, result] of results.entries()) t.equal(result.status, i === 15 ? 'rejected' : 'fulfilled')
    t.match(results[15], { reason: { code: '22012' } })
    t.equal(router.stats().opens, opens, 'and costs no connection')
    t.equal(router.stats().spoiled, 0)
  })
})

world.test('of two inserts of one key in flight, one is refused and the other is done', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const insert = (id: number) => sql`insert into pairs values (${id}) on conflict do nothing`.execute(db)
    await together(router, 20, () => Array.from({ length: 20 }, (_, i) => insert(i)))
    await sql`delete from pairs`.execute(db)
    const strict = (id: number) => sql`insert into pairs values (${id})`.execute(db)
    const results = await Promise.allSettled([1, 2, 2, 3, 3, 4].map(strict))
    t.same(
      results.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
    )
    t.match(results[2], { reason: { code: '23505' } })
    const { rows } = await sql<{ n: string }>`select count(*) as n from pairs`.execute(db)
    t.equal(rows[0]?.n, '4')
  })
})

world.test('one slow statement does not hold up fifty quick ones', async (t) => {
  const router = world.router()
  const order: string[] = []
  await router.use(a.tenantId, async (db) => {
    const slow = sql`select pg_sleep(1)`.execute(db).then(() => order.push('slow'))
    const quick = Array.from({ length: 50 }, () => read(db).then(() => order.push('quick')))
    await Promise.all([slow, ...quick])
  })
  t.equal(order.length, 51)
  t.equal(order[50], 'slow', 'it ends last')
  t.ok(router.stats().headOfLine > 0, 'on another connection')
})

world.test('a statement that turns slow keeps only what was sent behind it', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const one = () => [increment(1).execute(db)]
    const order: string[] = []
    await together(router, 20, () => Array.from({ length: 20 }, () => read(db)))
    const { results, unlock } = await blocked(
      superuser,
      router,
      'select * from counters where id = 1 for update',
      one,
      () => one().map((done) => done.then(() => order.push('slow'))),
    )
    const behind: Promise<unknown>[] = []
    // Those that were sent before it was known to be slow wait for it; those after it do not.
    await until(() => {
      const answer = read(db).then(() => true)
      behind.push(answer)
      return Promise.race([answer, new Promise<false>((resolve) => setTimeout(resolve, 5, false))])
    })
    t.same(order, [])
    t.ok(inFlight(router) < 40, `${inFlight(router)} are behind it`)
    await unlock()
    await Promise.all([results, ...behind])
  })
})

world.test('never more than 64 are in flight on one connection', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const many = (n: number) => () => Array.from({ length: n }, (_, i) => increment(i + 1).execute(db))
    const { results, unlock } = await blocked(
      superuser,
      router,
      'lock table counters in access exclusive mode',
      many(64),
      many(200),
    )
    t.ok(inFlight(router) <= 64, `${inFlight(router)} in flight`)
    t.equal(inFlight(router) + router.stats().waiters, 200, 'the others wait')
    await unlock()
    for (const { status } of await results) t.equal(status, 'fulfilled')
  })
})

world.test('an idle shared connection is idle, and is given up for another tenant', async (t) => {
  const router = world.router({ budget: 1 })
  for (const { tenantId } of [a, b, a]) t.equal(await router.use(tenantId, read), tenantId)
  t.equal(router.stats().steals, 2)
})

world.test('with endless plain work of two tenants and one connection, they take turns', async (t) => {
  const router = world.router({ budget: 1, acquireTimeoutMs: 60_000 })
  const served = { [a.tenantId]: 0, [b.tenantId]: 0 }
  let going = true
  // Each long enough to be answered alone: the next one is sent before the one behind it is answered, and none is ever the last.
  const statement = sql<{ tenantId: string }>`select word as "tenantId" from canary, pg_sleep(0.002)`
  const work = async (tenantId: string): Promise<void> => {
    while (going) {
      t.same((await router.use(tenantId, (db) => statement.execute(db))).rows, [{ tenantId }])
      served[tenantId] = (served[tenantId] ?? 0) + 1
    }
  }
  const all = [a, b].flatMap(({ tenantId }) => Array.from({ length: 8 }, () => work(tenantId)))
  await until(() => router.stats().yields > 4)
  going = false
  await Promise.all(all)
  t.ok(served[a.tenantId] && served[b.tenantId])
})

world.test('a transaction gets its connection although plain statements never end', async (t) => {
  const router = world.router({ tenantMaxConnections: 1, acquireTimeoutMs: 60_000 })
  let going = true
  const work = async (): Promise<void> => {
    while (going) await router.use(a.tenantId, read)
  }
  const all = Array.from({ length: 8 }, work)
  await until(() => router.stats().opens === 1)
  for (let i = 0; i < 3; i++) {
    await router.use(a.tenantId, (db) => db.transaction().execute((trx) => increment(1).execute(trx)))
  }
  going = false
  await Promise.all(all)
  t.equal(router.stats().opens, 1)
})

world.test(
  'while a transaction waits for the only connection, plain statements stay behind it',
  async (t) => {
    const router = world.router({ tenantMaxConnections: 1 })
    const order: string[] = []
    await router.use(a.tenantId, async (db) => {
      const one = () => [increment(1).execute(db)]
      await together(router, 20, () => Array.from({ length: 20 }, () => read(db)))
      const { results, unlock } = await blocked(
        superuser,
        router,
        'select * from counters where id = 1 for update',
        one,
        one,
      )
      const transaction = db.transaction().execute(async () => order.push('transaction'))
      while (router.stats().waiters === 0) await Promise.resolve()
      const plain = read(db).then(() => order.push('plain'))
      t.equal(inFlight(router), 1)
      await unlock()
      await Promise.all([results, transaction, plain])
    })
    t.same(order, ['transaction', 'plain'])
  },
)

world.test(
  'a transaction gets a connection of the plain statements when another is held for long',
  async (t) => {
    for (const held of ['by a transaction', 'by a plain statement']) {
      const router = world.router({ tenantMaxConnections: 2, acquireTimeoutMs: 60_000 })
      let [going, quick] = [true, 0]
      await router.use(a.tenantId, async (db) => {
        const work = async (): Promise<void> => {
          for (; going; quick += 1) await sql`select pg_sleep(0.002)`.execute(db)
        }
        const all = Array.from({ length: 8 }, work)
        await until(() => quick > 8)
        const long = sql`select pg_sleep(3)`
        const slow =
          held === 'by a transaction'
            ? db.transaction().execute((trx) => long.execute(trx))
            : long.execute(db)
        await until(() => router.stats().clusters[0]?.busy === 2)
        const first = await Promise.race([
          slow.then(() => 'what is slow'),
          db.transaction().execute(async () => 'the transaction'),
        ])
        t.equal(first, 'the transaction', held)
        const before = quick
        await until(() => quick > before + 8)
        going = false
        await Promise.all([slow, ...all])
      })
    }
  },
)

world.test('a begin that no transaction belongs to catches nobody', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    await sql`delete from pairs`.execute(db)
    const insert = (id: number) => sql`insert into pairs values (${id})`.execute(db)
    for (let i = 0; i < 10; i++) await Promise.all([sql`begin`.execute(db), insert(i)])
    const { rows } = await sql<{ n: string }>`select count(*) as n from pairs`.execute(db)
    t.equal(rows[0]?.n, '10', 'what was acknowledged is there')
  })
})

world.test('nobody else runs inside a transaction', async (t) => {
  const router = world.router({ tenantMaxConnections: 2 })
  await router.use(a.tenantId, async (db) => {
    await db
      .transaction()
      .execute(async (trx) => {
        const pid = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx)
        const others = Array.from({ length: 20 }, () =>
          sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db),
        )
        for (const other of await Promise.all(others)) t.not(other.rows[0]?.pid, pid.rows[0]?.pid)
        throw new Error('enough')
      })
      .catch(() => {})
  })
})

world.test('connection() is refused with what to use instead', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const plain = db as unknown as { connection(): unknown }
    t.throws(() => plain.connection(), /use transaction\(\)/)
  })
})
