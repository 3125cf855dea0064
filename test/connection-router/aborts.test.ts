import { getEventListeners } from 'node:events'
import { sql } from 'kysely'
import t from 'tap'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { startWorld, type TestRouter, type TestSchema, until } from './world.ts'

const world = await startWorld(t, 1)
const a = world.tenant(0)
type Db = TenantDb<TestSchema>

const sleeping = async (): Promise<number> => {
  const [row] = await world.admin<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity where usename = $1 and state = 'active' and wait_event = 'PgSleep'`,
    [a.address.user],
  )
  return row?.n ?? 0
}

const left = new Error('the client left')
const sleep = (db: Db, seconds = 60): Promise<unknown> => sql`select pg_sleep(${seconds})`.execute(db)
const abortable = (router: TestRouter, work: (db: Db) => Promise<unknown>) => {
  const abort = new AbortController()
  const done = router.use(a.tenantId, work, { signal: abort.signal })
  return { done, leave: () => abort.abort(left) }
}

world.test('a statement that nobody waits for is cancelled on the server', async (t) => {
  const router = world.router()
  const { done, leave } = abortable(router, (db) => sleep(db))
  await until(async () => (await sleeping()) === 1)
  leave()
  await t.rejects(done, left)
  t.equal(await sleeping(), 0)
  t.equal(router.stats().cancels, 1)
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
})

world.test('so is one in a transaction, which is rolled back', async (t) => {
  const router = world.router()
  const { done, leave } = abortable(router, (db) =>
    db.transaction().execute(async (trx) => {
      await trx.insertInto('canary').values({ id: 'gone', word: 'gone' }).execute()
      await sql`select pg_sleep(60)`.execute(trx)
    }),
  )
  await until(async () => (await sleeping()) === 1)
  leave()
  await t.rejects(done, left)
  const rows = await router.use(a.tenantId, (db) =>
    db.selectFrom('canary').selectAll().where('id', '=', 'gone').execute(),
  )
  t.same(rows, [])
})

world.test("nobody else's statement is cancelled: it waits until it is alone", async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  const text = (seconds: number) => sql<{ x: string }>`select pg_sleep(${seconds})::text as x`
  // Known as quick, so that a second one is sent behind the first.
  await router.use(a.tenantId, async (db) => {
    for (let i = 0; i < 60; i++) await text(0).execute(db)
  })
  const first = abortable(router, (db) => text(1).execute(db))
  const second = router.use(a.tenantId, (db) => text(0.4).execute(db))
  await until(() => router.stats().clusters[0]?.inFlight === 2)
  first.leave()
  await second
  t.equal(router.stats().cancels, 0)
  await first.done.catch(() => {})
})

world.test('one behind another is cancelled when its turn comes', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  const text = (seconds: number) => sql<{ x: string }>`select pg_sleep(${seconds})::text as x`
  await router.use(a.tenantId, async (db) => {
    for (let i = 0; i < 60; i++) await text(0).execute(db)
  })
  const first = router.use(a.tenantId, (db) => text(0.4).execute(db))
  const second = abortable(router, (db) => text(60).execute(db))
  await until(() => router.stats().clusters[0]?.inFlight === 2)
  second.leave()
  await first
  await t.rejects(second.done, left)
  t.equal(router.stats().cancels, 1)
})

world.test('waiting ends at once, and nothing more is begun', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  const goOn = Promise.withResolvers<void>()
  const held = router.use(a.tenantId, (db) => db.transaction().execute(() => goOn.promise))
  await until(() => router.stats().clusters[0]?.busy === 1)
  let began = false
  const { done, leave } = abortable(router, async (db) => {
    await db
      .selectFrom('canary')
      .selectAll()
      .execute()
      .catch(() => {})
    await db.selectFrom('canary').selectAll().execute()
    began = true
  })
  await until(() => router.stats().waiters === 1)
  leave()
  await t.rejects(done, left)
  t.equal(began, false)
  t.equal(router.stats().waiters, 0)
  goOn.resolve()
  await held
})

world.test('who has left already gets no lease', async (t) => {
  const router = world.router()
  await t.rejects(router.lease(a.tenantId, { signal: AbortSignal.abort(left) }), left)
})

world.test('a statement that will soon be done is not cancelled', async (t) => {
  const router = world.router()
  const { done, leave } = abortable(router, (db) => sleep(db, 0.03))
  await until(() => router.stats().clusters[0]?.shared === 1)
  leave()
  await done
  t.equal(router.stats().cancels, 0)
  t.equal(router.stats().spoiled, 0)
})

world.test('a quick statement whose client leaves costs no connection', async (t) => {
  const router = world.router()
  for (let i = 0; i < 20; i++) {
    const { done, leave } = abortable(router, (db) => db.selectFrom('canary').selectAll().execute())
    setImmediate(leave)
    await done.catch((error) => t.equal(error, left))
  }
  t.equal(router.stats().opens, 1)
  t.equal(router.stats().cancels, 0)
})

const endsOfAWait: Record<string, { acquireTimeoutMs?: number; end?: (own: AbortController) => void }> = {
  'that was served': {},
  // A connect has four fifths of it, and may take long on a busy machine.
  'that was too long': { acquireTimeoutMs: 2_000 },
  'that another signal ended': { end: (own) => own.abort(left) },
}

for (const [how, { end, ...options }] of Object.entries(endsOfAWait)) {
  world.test(`a wait ${how} leaves nothing behind on the signals that could have ended it`, async (t) => {
    const router = world.router({ tenantMaxConnections: 1, ...options })
    const ended = Promise.withResolvers<void>()
    const busy = router.use(a.tenantId, (db) => db.transaction().execute(() => ended.promise))
    await until(() => router.stats().clusters[0]?.busy === 1)
    const [of, own] = [new AbortController(), new AbortController()]
    const listeners = (): number => getEventListeners(of.signal, 'abort').length
    const query = (db: Db) => db.selectFrom('canary').selectAll()
    const waited = async (db: Db): Promise<[string, number]> => {
      const result = await query(db)
        .execute(end === undefined ? undefined : { signal: own.signal })
        .then(
          () => 'served',
          (error: Error) => error.message,
        )
      return [result, listeners()]
    }
    const done = router.use(a.tenantId, waited, { signal: of.signal })
    await until(() => router.stats().waiters === 1)
    t.equal(listeners(), 1)
    end?.(own)
    if (options.acquireTimeoutMs === undefined && end === undefined) ended.resolve()
    const [result, count] = await done
    t.equal(count, 0, result)
    ended.resolve()
    await busy
  })
}

world.test('waits for a look-up that never answers end too: of a lease, and of its statement', async (t) => {
  const hanging = Promise.withResolvers<void>()
  let hangs = true
  const router = world.router({
    findTenant: async (tenantId) => {
      if (hangs) await hanging.promise
      return await world.findTenant(tenantId)
    },
  })
  const query = (db: Db) => db.selectFrom('canary').selectAll().execute()
  const lease = abortable(router, query)
  lease.leave()
  await t.rejects(lease.done, left)
  hangs = false
  router.invalidate(a.tenantId)
  const abort = new AbortController()
  const statement = router.use(
    a.tenantId,
    (db) => {
      hangs = true
      router.invalidateAll()
      const answer = query(db)
      abort.abort(left)
      return answer
    },
    { signal: abort.signal },
  )
  await t.rejects(statement, left)
  t.equal(router.stats().leases, 0)
  hanging.resolve()
})
