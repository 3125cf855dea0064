import { type RawBuilder, sql } from 'kysely'
import t, { type Test } from 'tap'
import type { TenantPlacement } from '../../src/connection-router/directory.ts'
import { cluster, type Db, read } from './in-flight.ts'
import { codeOf, startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]
const { tenantId } = a

/** The tests where the deadline must not come by itself, and those that wait for it. */
const [late, soon] = [{ graceMs: 3_600_000 }, { graceMs: 300 }]

/** Sessions of the tenant that are at work for a handler; one that is just logging in is not. */
const running = async (): Promise<number> => {
  const [row] = await world.admin<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity
     where usename = $1 and state in ('active', 'idle in transaction') and query not like '%session_user%'`,
    [a.address.user],
  )
  return row?.n ?? 0
}

const place = (router: TestRouter, placement: TenantPlacement): void => {
  world.master.set(tenantId, placement)
  router.invalidate(tenantId)
}
const suspend = (router: TestRouter): void => place(router, { ...a, status: 'suspended' })

/** Everybody new is refused. */
const closedToNewcomers = (router: TestRouter, code = 'tenant_suspended'): Promise<void> =>
  until(async () => (await codeOf(router.lease(tenantId).then((lease) => lease.release()))) === code)

const busy = (router: TestRouter): number => router.stats().clusters[0]?.busy ?? 0
const sleep = (seconds: number): RawBuilder<unknown> => sql`select pg_sleep(${seconds})`
const insert = (db: Pick<Db, 'insertInto'>, id: string): Promise<unknown> =>
  db.insertInto('canary').values({ id, word: 'x' }).execute()
/** What is stored under this id, as the server itself sees it. */
const isStored = async (id: string): Promise<boolean> => {
  world.master.set(tenantId, a)
  const router = world.router()
  const rows = await router.use(tenantId, (db) =>
    db.selectFrom('canary').selectAll().where('id', '=', id).execute(),
  )
  return rows.length > 0
}

world.test(
  'a handler that runs when its tenant is suspended finishes, with all its statements',
  async (t) => {
    const router = world.router(late)
    await router.use(tenantId, async (db) => {
      await read(db)
      suspend(router)
      await closedToNewcomers(router)
      t.equal(await read(db), tenantId)
      await db.transaction().execute(async (trx) => insert(trx, 'finished'))
      for await (const _ of db.selectFrom('canary').selectAll().stream(1)) t.equal(cluster(router).busy, 1)
    })
    await until(() => cluster(router).permitsUsed === 0)
    t.ok(await isStored('finished'))
  },
)

world.test('so does one that waits for its first connection', async (t) => {
  const router = world.router({ ...late, tenantMaxConnections: 1 })
  const slow = router.use(tenantId, (db) => sleep(0.2).execute(db))
  await until(() => busy(router) === 1)
  const waiting = router.use(tenantId, read)
  await until(() => router.stats().waiters === 1)
  suspend(router)
  await closedToNewcomers(router)
  t.equal(await waiting, tenantId)
  await slow
  await until(() => cluster(router).permitsUsed === 0)
})

world.test('a tenant that is resumed in time keeps its connections', async (t) => {
  const router = world.router(late)
  await router.use(tenantId, async (db) => {
    await read(db)
    suspend(router)
    await closedToNewcomers(router)
    place(router, a)
    await until(async () => (await codeOf(router.use(tenantId, read))) === 'no error')
    t.equal(await read(db), tenantId)
  })
  t.equal(router.stats().opens, 1)
})

/** The tenant is closed while `work` is at something that would last for a minute. */
const cancelled = async (
  t: Test,
  work: (db: Db) => Promise<unknown>,
  close: (router: TestRouter) => void = suspend,
  code = 'tenant_suspended',
): Promise<void> => {
  const router = world.router(soon)
  const result = codeOf(router.use(tenantId, work))
  await until(async () => (await running()) === 1)
  close(router)
  t.equal(await result, code)
  // The server ends it in its own time, but long before the minute is over.
  await until(async () => (await running()) === 0)
  await until(() => cluster(router).permitsUsed === 0)
}

world.test('at the deadline a shared statement is cancelled', async (t) => {
  await cancelled(t, (db) => sleep(60).execute(db))
})

world.test('so is one in a transaction, and the transaction is rolled back', async (t) => {
  await cancelled(t, (db) =>
    db.transaction().execute(async (trx) => {
      await insert(trx, 'rolled-back')
      await sleep(60).execute(trx)
    }),
  )
  t.notOk(await isStored('rolled-back'))
})

world.test('so is a stream', async (t) => {
  const query = (db: Db) =>
    db.selectFrom('canary').select(sql`case when id = 'same-id' then pg_sleep(60) end`.as('x'))
  await cancelled(t, async (db) => {
    for await (const _ of query(db).stream(1));
  })
})

world.test('so is a statement with a connection to itself', async (t) => {
  await cancelled(t, (db) => sql`do $$ begin perform pg_sleep(60); end $$`.execute(db))
})

world.test('a transaction that is between two statements is rolled back', async (t) => {
  const router = world.router(soon)
  const code = codeOf(
    router.use(tenantId, (db) =>
      db.transaction().execute(async (trx) => {
        await insert(trx, 'between')
        suspend(router)
        await until(async () => cluster(router).permitsUsed === 0 && (await running()) === 0)
        await read(trx as unknown as Db)
      }),
    ),
  )
  t.equal(await code, 'tenant_suspended')
  t.notOk(await isStored('between'))
})

world.test('everything in flight behind one another is cancelled, not only the first', async (t) => {
  // Else the server itself would notice that the connection is being closed.
  await world.admin(`alter role ${a.address.user} set client_connection_check_interval = 0`)
  t.teardown(() => world.admin(`alter role ${a.address.user} reset client_connection_check_interval`))
  const router = world.router({ ...soon, tenantMaxConnections: 1 })
  const text = (seconds: number) => sql`select pg_sleep(${seconds})::text as x`
  // Known as quick, so that they are sent behind each other.
  await router.use(tenantId, async (db) => {
    for (let i = 0; i < 60; i++) await text(0).execute(db)
  })
  const results = router.use(tenantId, (db) =>
    Promise.all(Array.from({ length: 5 }, () => codeOf(text(60).execute(db)))),
  )
  await until(() => cluster(router).inFlight === 5)
  suspend(router)
  t.same(new Set(await results), new Set(['tenant_suspended']))
  await until(() => cluster(router).permitsUsed === 0)
  t.equal(await running(), 0)
})

world.test('after the deadline the lease gets what newcomers get, and so do those who wait', async (t) => {
  const router = world.router({ ...soon, tenantMaxConnections: 1 })
  await router.use(tenantId, async (db) => {
    const slow = codeOf(sleep(60).execute(db))
    await until(() => busy(router) === 1)
    const waiting = codeOf(db.transaction().execute((trx) => insert(trx, 'waited')))
    await until(() => router.stats().waiters === 1)
    suspend(router)
    t.same(await Promise.all([slow, waiting]), ['tenant_suspended', 'tenant_suspended'])
    t.equal(await codeOf(read(db)), 'tenant_suspended')
    await until(() => cluster(router).permitsUsed === 0)
  })
  t.notOk(await isStored('waited'))
})

world.test('what a handler left running when it returned is cancelled too', async (t) => {
  const router = world.router(soon)
  const left = { code: Promise.resolve('') }
  await router.use(tenantId, async (db) => {
    left.code = codeOf(sleep(60).execute(db))
    await until(async () => (await running()) === 1)
  })
  suspend(router)
  t.equal(await left.code, 'tenant_suspended')
  await until(() => cluster(router).permitsUsed === 0)
})

world.test('a deleted tenant is closed like a suspended one, with its own code', async (t) => {
  const remove = (router: TestRouter): void => place(router, { tenantId, status: 'deleted' })
  await cancelled(t, (db) => sleep(60).execute(db), remove, 'gone')
})

world.test(
  'on the old database of a moved tenant a transaction ends at the deadline: try again',
  async (t) => {
    const move = (router: TestRouter): void => place(router, { ...b, tenantId, epoch: 2 })
    const work = (db: Db) => db.transaction().execute((trx) => sleep(60).execute(trx))
    await cancelled(t, work, move, 'tenant_moving')
  },
)

world.test('another tenant does not notice', async (t) => {
  const router = world.router(soon)
  const other = router.use(b.tenantId, (db) => db.transaction().execute((trx) => sleep(0.8).execute(trx)))
  const code = codeOf(router.use(tenantId, (db) => sleep(60).execute(db)))
  await until(() => busy(router) === 2)
  suspend(router)
  t.equal(await code, 'tenant_suspended')
  await other
  t.equal(await router.use(b.tenantId, read), b.tenantId)
})
