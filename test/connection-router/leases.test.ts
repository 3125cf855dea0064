import { sql } from 'kysely'
import t from 'tap'
import { tenantIdOf } from '../../src/connection-router/tenant-db.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { codeOf, startWorld, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]

world.test('each tenant reads its own database, also where the ids are the same', async (t) => {
  const router = world.router()
  for (const tenant of [a, b, a]) {
    const row = await router.use(tenant.tenantId, (db) =>
      db.selectFrom('canary').selectAll().where('id', '=', 'same-id').executeTakeFirstOrThrow(),
    )
    t.equal(row.word, tenant.tenantId)
  }
})

world.test('a lease takes no server connection until a statement runs', async (t) => {
  const router = world.router()
  const lease = await router.lease(a.tenantId)
  t.equal(tenantIdOf(lease.db), a.tenantId)
  t.equal(router.stats().leases, 1)
  t.equal(router.stats().opens, 0)
  await lease.db.selectFrom('canary').selectAll().execute()
  t.equal(router.stats().opens, 1)
  lease.release()
})

world.test('releasing twice is harmless', async (t) => {
  const router = world.router()
  const [first, second] = [await router.lease(a.tenantId), await router.lease(a.tenantId)]
  first.release()
  first.release()
  t.equal(router.stats().leases, 1)
  await second.db.selectFrom('canary').selectAll().execute()
  second.release()
})

world.test('a handle throws once its lease is released', async (t) => {
  const router = world.router()
  const lease = await router.lease(a.tenantId)
  lease.release()
  await t.rejects(lease.db.selectFrom('canary').selectAll().execute(), /lease was released/)
  await t.rejects(
    lease.db.transaction().execute(async () => {}),
    /lease was released/,
  )
  const kept = await router.use(a.tenantId, async (db) => db)
  await t.rejects(kept.selectFrom('canary').selectAll().execute(), /lease was released/)
})

world.test(
  'a transaction that outlives its lease is rolled back, and its connection stays counted',
  async (t) => {
    const router = world.router()
    const lease = await router.lease(a.tenantId)
    const [written, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const transaction = lease.db.transaction().execute(async (trx) => {
      await trx.insertInto('canary').values({ id: 'late', word: 'late' }).execute()
      written.resolve()
      await goOn.promise
    })
    await written.promise
    lease.release()
    t.equal(router.stats().leases, 0)
    t.equal(router.stats().clusters[0]?.busy, 1)
    goOn.resolve()
    await t.rejects(transaction, /lease was released/)
    const rows = await router.use(a.tenantId, (db) =>
      db.selectFrom('canary').selectAll().where('id', '=', 'late').execute(),
    )
    t.same(rows, [])
  },
)

world.test(
  'a statement that waits for its connection when the lease is released leaves the queue',
  async (t) => {
    const router = world.router({ tenantMaxConnections: 1 })
    const lease = await router.lease(a.tenantId)
    const slow = router.use(a.tenantId, (db) => sql`select pg_sleep(0.2)`.execute(db))
    await until(() => router.stats().clusters[0]?.busy === 1)
    const waiting = t.rejects(lease.db.selectFrom('canary').selectAll().execute(), /lease was released/)
    await until(() => router.stats().waiters === 1)
    lease.release()
    await waiting
    t.equal(router.stats().waiters, 0)
    t.equal(router.stats().clusters[0]?.busy, 1, 'without waiting for the statement before it')
    await slow
  },
)

world.test('an aborted statement leaves the queue', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  const slow = router.use(a.tenantId, (db) => sql`select pg_sleep(0.2)`.execute(db))
  await until(() => router.stats().clusters[0]?.busy === 1)
  const abort = new AbortController()
  const waiting = router.use(a.tenantId, (db) =>
    db.selectFrom('canary').selectAll().execute({ signal: abort.signal }),
  )
  await until(() => router.stats().waiters === 1)
  abort.abort(new Error('the client left'))
  await t.rejects(waiting, /the client left/)
  await until(() => router.stats().waiters === 0)
  await slow
})

world.test('transactions commit, roll back and nest', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    await db.transaction().execute((trx) => trx.insertInto('canary').values({ id: 'x', word: 'x' }).execute())
    const failed = db.transaction().execute(async (trx) => {
      await trx.deleteFrom('canary').where('id', '=', 'x').execute()
      throw new Error('changed my mind')
    })
    await t.rejects(failed, /changed my mind/)
    const trx = await db.startTransaction().setIsolationLevel('serializable').execute()
    const saved = await trx.savepoint('before').execute()
    await saved.deleteFrom('canary').where('id', '=', 'x').execute()
    await saved.rollbackToSavepoint('before').execute()
    await trx.commit().execute()
    t.equal((await db.deleteFrom('canary').where('id', '=', 'x').executeTakeFirst()).numDeletedRows, 1n)
  })
  t.equal(router.stats().opens, 1, 'all on one connection')
})

world.test('a commit after a swallowed error says that nothing was committed', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const committed = db.transaction().execute(async (trx) => {
      await sql`select 1 / 0`.execute(trx).catch(() => {})
    })
    await t.rejects(committed, /rolled back/)
    await db.selectFrom('canary').selectAll().execute()
  })
})

world.test("errors of the statement itself pass through as the driver's", async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const twice = db.insertInto('canary').values({ id: 'same-id', word: 'again' }).execute()
    await t.rejects(twice, { code: '23505', constraint: 'canary_pkey' })
    await db.selectFrom('canary').selectAll().execute()
  })
  t.equal(router.stats().opens, 1, 'the connection is still good')
})

world.test('a tenant that may not be used is refused with the reason', async (t) => {
  const router = world.router()
  const expected = { pending: 'tenant_not_ready', suspended: 'tenant_suspended', deleted: 'gone' } as const
  for (const status of ['pending', 'suspended', 'deleted'] as const) {
    world.master.set(a.tenantId, status === 'suspended' ? { ...a, status } : { tenantId: a.tenantId, status })
    router.invalidate(a.tenantId)
    t.equal(await codeOf(router.lease(a.tenantId)), expected[status])
  }
  t.equal(await codeOf(router.lease('nobody')), 'not_found')
})

world.test('an overdue lease is logged and counted once', async (t) => {
  const lines: string[] = []
  const log = createLogger('warn', { write: (line: string) => lines.push(line) })
  const router = world.router({ leaseWarnMs: 20, log })
  const lease = await router.lease(a.tenantId)
  const inTime = Date.now() + 200
  await until(() => router.stats().overdueLeases === 1 && Date.now() > inTime)
  lease.release()
  t.equal(router.stats().overdueLeases, 1)
  t.equal(lines.filter((line) => line.includes('overdue')).length, 1)
})

world.test('close refuses new leases, waits for those out, and for every socket', async (t) => {
  const router = world.router()
  const lease = await router.lease(a.tenantId)
  await router.use(b.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  let closed = false
  const closing = router.close({ deadlineMs: 600_000 }).then(() => {
    closed = true
  })
  t.equal(await codeOf(router.lease(b.tenantId)), 'overloaded')
  await lease.db.selectFrom('canary').selectAll().execute()
  t.equal(closed, false)
  lease.release()
  await closing
  t.equal(await world.sessions(), 0)
})

world.test('close does not wait for ever: what is out after the deadline is ended', async (t) => {
  const router = world.router()
  const lease = await router.lease(a.tenantId)
  const slow = sql`select pg_sleep(0.3)`.execute(lease.db)
  await until(() => router.stats().clusters[0]?.busy === 1)
  await router.close({ deadlineMs: 10 })
  await slow.catch((error) => t.ok(isAppError(error, 'database_unavailable')))
  await t.rejects(lease.db.selectFrom('canary').selectAll().execute(), /lease was released/)
})
