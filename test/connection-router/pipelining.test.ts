import { type RawBuilder, sql } from 'kysely'
import pg from 'pg'
import t from 'tap'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { codeOf, startWorld, type TestRouter, type TestSchema, until } from './world.ts'

const world = await startWorld(t, 3)
const [a, b] = [world.tenant(0), world.tenant(1)]

type Db = TenantDb<TestSchema>

/** The superuser in a tenant's database. */
const inside = async (tenant: PlacedTenant): Promise<pg.Client> => {
  const { database } = tenant.address
  const client = new pg.Client(clientOptions({ ...world.server.superuser, database }))
  await client.connect()
  return client
}

const superuser = await inside(a)
t.teardown(() => superuser.end())
await superuser.query('create table counters (id int primary key, n int not null)')
await superuser.query(`alter table counters owner to ${a.address.user}`)
await superuser.query('insert into counters select i, 0 from generate_series(1, 400) i')
await superuser.query(`create table pairs (id int primary key); alter table pairs owner to ${a.address.user}`)

const inFlight = (router: TestRouter): number => router.stats().clusters[0]?.inFlight ?? 0
const cluster = (router: TestRouter) => {
  const [stats] = router.stats().clusters
  if (stats === undefined) throw new Error('no cluster')
  return stats
}

const tenDividedBy = (n: number): RawBuilder<{ q: number }> => sql`select 10 / ${n}::int as q`
const increment = (id: number): RawBuilder<unknown> => sql`update counters set n = n + 1 where id = ${id}`
const read = (db: Db): Promise<string | undefined> =>
  db
    .selectFrom('canary')
    .select('word')
    .executeTakeFirst()
    .then((row) => row?.word)

/** Runs `work` until everything it sends at once is in flight at once, on one connection: its texts are known as quick. */
const together = async <T>(router: TestRouter, count: number, work: () => Promise<T>[]): Promise<T[]> => {
  for (;;) {
    const running = work()
    const sent = inFlight(router)
    const results = await Promise.all(running)
    if (sent === count && cluster(router).opening === 0) return results
  }
}

/** Makes `count` statements of one kind wait behind a lock, all sent. */
const blocked = async <T>(
  router: TestRouter,
  lock: string,
  warm: () => Promise<unknown>[],
  work: () => Promise<T>[],
): Promise<{ results: Promise<PromiseSettledResult<T>[]>; unlock(): Promise<void> }> => {
  await together(router, warm().length, warm)
  await superuser.query('begin')
  await superuser.query(lock)
  const results = Promise.allSettled(work())
  return {
    results,
    unlock: async () => {
      await superuser.query('commit')
    },
  }
}

const pidsOf = async (tenant: PlacedTenant): Promise<number[]> =>
  (
    await world.admin<{ pid: number }>(
      `select pid from pg_stat_activity where usename = $1 and application_name = 'freehold'`,
      [tenant.address.user],
    )
  ).map(({ pid }) => pid)

const terminate = async (tenant: PlacedTenant): Promise<void> => {
  for (const pid of await pidsOf(tenant)) await world.admin('select pg_terminate_backend($1)', [pid])
}

world.test('plain statements of a tenant share one connection, and each gets its own answer', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const ask = () =>
      Array.from({ length: 30 }, async (_, i) => (await tenDividedBy(i + 1).execute(db)).rows[0]?.q)
    const answers = await together(router, 30, ask)
    t.same(
      answers,
      Array.from({ length: 30 }, (_, i) => Math.trunc(10 / (i + 1))),
    )
  })
  t.ok(router.stats().opens <= 2)
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
  t.equal(router.stats().headOfLine, 1)
  t.equal(router.stats().opens, 2, 'on a second connection')
})

world.test('a statement that turns slow keeps only what was sent behind it', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const one = () => [increment(1).execute(db)]
    const order: string[] = []
    const { results, unlock } = await blocked(
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
    await unlock()
    await Promise.all([results, ...behind])
  })
})

world.test('never more than 64 are in flight on one connection', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const many = (n: number) => () => Array.from({ length: n }, (_, i) => increment(i + 1).execute(db))
    const { results, unlock } = await blocked(
      router,
      'lock table counters in access exclusive mode',
      many(64),
      many(200),
    )
    t.equal(inFlight(router), 64)
    t.equal(router.stats().waiters, 136)
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
  const work = async (tenantId: string): Promise<void> => {
    while (going) {
      t.equal(await router.use(tenantId, read), tenantId)
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

world.test('a statement timeout fails its own statement; the connection takes no new ones', async (t) => {
  const router = world.router({ statementTimeoutMs: 150 })
  await router.use(a.tenantId, async (db) => {
    const mixed = (): Promise<unknown>[] => [
      increment(1).execute(db),
      ...Array.from({ length: 9 }, () => read(db)),
    ]
    const { results, unlock } = await blocked(
      router,
      'select * from counters where id = 1 for update',
      mixed,
      mixed,
    )
    const [first, ...others] = await results
    t.match(first, { status: 'rejected', reason: { code: '57014' } })
    for (const { status } of others) t.equal(status, 'fulfilled')
    await unlock()
    await until(() => router.stats().spoiled === 1)
    await read(db)
  })
})

world.test('when the session is killed, all writes in flight fail, and none is run again', async (t) => {
  const router = world.router()
  await superuser.query('update counters set n = 0')
  await router.use(a.tenantId, async (db) => {
    const writes = () => Array.from({ length: 30 }, (_, i) => increment(i + 1).execute(db))
    const { results, unlock } = await blocked(
      router,
      'lock table counters in access exclusive mode',
      writes,
      writes,
    )
    await superuser.query('update counters set n = 0')
    await until(() => inFlight(router) === 30)
    await terminate(a)
    for (const result of await results) {
      t.ok(result.status === 'rejected' && isAppError(result.reason, 'database_unavailable'))
    }
    await unlock()
    const { rows } = await superuser.query('select count(*)::int as n from counters where n > 0')
    t.equal(rows[0].n, 0)
    t.equal(router.stats().retries, 0)
  })
})

world.test(
  'with sessions killed at random, what was acknowledged was done once, and nothing twice',
  async (t) => {
    const router = world.router()
    await superuser.query('update counters set n = 0')
    const acknowledged = new Set<number>()
    for (let round = 0; round < 10; round++) {
      const ids = Array.from({ length: 40 }, (_, i) => round * 40 + i + 1)
      const writes = ids.map((id) =>
        router
          .use(a.tenantId, (db) => increment(id).execute(db))
          .then(
            () => acknowledged.add(id),
            (error: unknown) => t.ok(isAppError(error, 'database_unavailable')),
          ),
      )
      if (round > 0) await terminate(a)
      await Promise.all(writes)
    }
    const { rows } = await superuser.query<{ id: number; n: number }>('select id, n from counters')
    for (const { id, n } of rows) {
      if (acknowledged.has(id)) t.equal(n, 1)
      else t.ok(n <= 1, 'at most once')
    }
  },
)

world.test('plain reads whose session was killed are tried once more', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const reads = () => Array.from({ length: 10 }, () => read(db))
    const { results, unlock } = await blocked(
      router,
      'lock table canary in access exclusive mode',
      reads,
      reads,
    )
    await until(() => inFlight(router) === 10)
    await terminate(a)
    await until(() => router.stats().retries === 10)
    await unlock()
    for (const result of await results)
      t.match(
        result,
        { status: 'fulfilled', value: a.tenantId },
        String(result.status === 'rejected' && result.reason.cause),
      )
  })
})

world.test('what is no plain read is not tried again', async (t) => {
  const router = world.router()
  const kinds = [
    (db: Db) => db.selectFrom('canary').select('word').forUpdate().execute(),
    (db: Db) => sql`select word from canary`.execute(db),
    (db: Db) =>
      db
        .selectFrom('canary')
        .select((e) => e.fn<string>('txid_current', []).as('x'))
        .execute(),
  ]
  for (const kind of kinds) {
    await router.use(a.tenantId, async (db) => {
      const one = (): Promise<unknown>[] => [kind(db)]
      const { results, unlock } = await blocked(
        router,
        'lock table canary in access exclusive mode',
        one,
        one,
      )
      await terminate(a)
      for (const { status } of await results) t.equal(status, 'rejected')
      await unlock()
    })
  }
  t.equal(router.stats().retries, 0)
})

world.test('a suspended tenant keeps what is in flight, and gets nothing more', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const reads = () => Array.from({ length: 10 }, () => read(db))
    const { results, unlock } = await blocked(
      router,
      'lock table canary in access exclusive mode',
      reads,
      reads,
    )
    await until(() => inFlight(router) === 10)
    world.master.set(a.tenantId, { ...a, status: 'suspended' })
    router.invalidate(a.tenantId)
    t.equal(await codeOf(read(db)), 'tenant_suspended')
    await unlock()
    for (const { status } of await results) t.equal(status, 'fulfilled')
    await until(() => cluster(router).permitsUsed === 0)
  })
})

world.test('connection() is refused with what to use instead', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const plain = db as unknown as { connection(): unknown }
    t.throws(() => plain.connection(), /use transaction\(\)/)
  })
})
