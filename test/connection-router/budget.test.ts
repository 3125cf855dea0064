import { type AddressInfo, createServer } from 'node:net'
import { sql } from 'kysely'
import t from 'tap'
import { isAppError } from '../../src/kernel/errors.ts'
import { codeOf, startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 30)
const [a, b, c] = [world.tenant(0), world.tenant(1), world.tenant(2)]

const sleep = (router: TestRouter, tenantId: string, seconds: number): Promise<unknown> =>
  router.use(tenantId, (db) => sql`select pg_sleep(${seconds})`.execute(db))
const read = (router: TestRouter, tenantId: string): Promise<string | undefined> =>
  router.use(tenantId, async (db) => (await db.selectFrom('canary').selectAll().executeTakeFirst())?.word)

/** The most sessions of tenants that the server ever had at once while `work` ran. */
const mostSessions = async (work: Promise<unknown>): Promise<number> => {
  let [most, done] = [0, false]
  const finished = work.finally(() => {
    done = true
  })
  while (!done) most = Math.max(most, await world.sessions())
  await finished
  return most
}

world.test('a storm of 300 over 30 tenants never has more connections than the budget of 8', async (t) => {
  const router = world.router({ budget: 8, acquireTimeoutMs: 60_000 })
  const work = Array.from({ length: 300 }, async (_, i) => {
    const { tenantId } = world.tenant(i % 30)
    t.equal(await read(router, tenantId), tenantId)
  })
  const most = await mostSessions(Promise.all(work))
  t.ok(most <= 8, `${most} sessions at most`)
  t.ok(most > 0)
  const { timeouts, openFailures } = router.stats()
  t.same({ timeouts, openFailures }, { timeouts: 0, openFailures: 0 })
})

world.test('the same storm with transactions, errors and killed sessions leaks nothing', async (t) => {
  const router = world.router({ budget: 5, tenantMaxConnections: 2, acquireTimeoutMs: 60_000 })
  const one = (i: number): Promise<unknown> =>
    router.use(world.tenant(i % 30).tenantId, async (db) => {
      if (i % 5 === 0) return sql`select pg_terminate_backend(pg_backend_pid())`.execute(db)
      if (i % 5 === 1) return sql`select 1 / 0`.execute(db)
      if (i % 5 === 2) return sql`set role none`.execute(db)
      return db.transaction().execute((trx) => trx.selectFrom('canary').selectAll().execute())
    })
  const results = Promise.allSettled(Array.from({ length: 150 }, (_, i) => one(i)))
  t.ok((await mostSessions(results)) <= 5)
  const settled = await results
  settled.forEach(({ status }, i) => {
    t.equal(status, i % 5 < 2 ? 'rejected' : 'fulfilled', `number ${i}`)
  })
})

world.test("one tenant's 200 slow statements do not starve another's only one", async (t) => {
  const router = world.router({ budget: 4, tenantMaxConnections: 4, acquireTimeoutMs: 60_000 })
  let served = 0
  const noisy = Array.from({ length: 200 }, () => sleep(router, a.tenantId, 0.05).then(() => (served += 1)))
  await until(() => router.stats().waiters > 100)
  await read(router, b.tenantId)
  t.ok(served < 20, `${served} of the noisy tenant were served before the quiet one`)
  await Promise.all(noisy)
})

world.test('with a budget of one, tenants with endless work take turns', async (t) => {
  const router = world.router({ budget: 1, acquireTimeoutMs: 60_000 })
  const order: string[] = []
  // Transactions, so that each is over before the next is sent: three of them are longer than a turn on any machine.
  const inTransaction = (tenantId: string): Promise<unknown> =>
    router.use(tenantId, (db) =>
      db.transaction().execute(async (trx) => {
        await sql`select pg_sleep(0.01)`.execute(trx)
        order.push(tenantId)
      }),
    )
  const work = [a, b].flatMap(({ tenantId }) => Array.from({ length: 12 }, () => inTransaction(tenantId)))
  await Promise.all(work)
  const turns = order.filter((tenantId, i) => tenantId !== order[i - 1]).length
  t.ok(turns > 3, `${turns} turns`)
  t.ok(router.stats().yields > 1)
})

world.test(
  'one tenant never has more than its part of its maximum, nor more than three quarters of the budget',
  async (t) => {
    for (const [budget, tenantMaxConnections, nodes, most] of [
      [8, 3, 1, 3],
      [8, 20, 1, 6],
      [1, 20, 1, 1],
      [8, 3, 2, 1],
      [8, 3, 9, 1],
      [8, 9, 2, 4],
    ] as const) {
      const router = world.router({ budget, tenantMaxConnections, nodes: () => nodes })
      // Long enough for all of them to be connected before the first is free again.
      const work = Array.from({ length: most + 2 }, () => sleep(router, a.tenantId, 0.5))
      await until(() => router.stats().clusters[0]?.busy === most)
      await read(router, a.tenantId)
      await Promise.all(work)
      t.equal(router.stats().opens, most)
    }
  },
)

world.test('who gets no connection before the deadline is overloaded, and leaves the queue', async (t) => {
  // Connecting has four fifths of it, also on a busy machine.
  const router = world.router({ budget: 1, acquireTimeoutMs: 1_200 })
  const slow = sleep(router, a.tenantId, 2)
  await until(() => router.stats().clusters[0]?.busy === 1)
  const error = await read(router, b.tenantId).catch((e: unknown) => e)
  t.ok(isAppError(error, 'overloaded'))
  t.match(error, { status: 503, retryAfter: 2 }, 'and comes back no sooner than after as long a wait')
  t.equal(router.stats().timeouts, 1)
  t.equal(router.stats().waiters, 0)
  await slow
})

world.test('a permit is taken from the least recently used tenant, never from a statement', async (t) => {
  const router = world.router({ budget: 2 })
  await read(router, a.tenantId)
  const slow = sleep(router, b.tenantId, 0.3)
  await until(() => router.stats().clusters[0]?.busy === 1)
  await read(router, c.tenantId)
  t.equal(router.stats().steals, 1)
  t.equal(router.stats().clusters[0]?.busy, 1, 'the statement still runs')
  await slow
  await read(router, b.tenantId)
  t.equal(router.stats().opens, 3, 'on the connection it had')
  await read(router, a.tenantId)
  t.equal(router.stats().steals, 2)
  await read(router, b.tenantId)
  t.equal(router.stats().opens, 4, 'c was used less recently than b')
})

world.test('a lease that runs no statement does not keep others from a connection', async (t) => {
  const router = world.router({ budget: 1 })
  const lease = await router.lease(a.tenantId)
  await lease.db.selectFrom('canary').selectAll().execute()
  t.equal(await read(router, b.tenantId), b.tenantId)
  const row = await lease.db.selectFrom('canary').selectAll().executeTakeFirst()
  t.equal(row?.word, a.tenantId)
  lease.release()
})

world.test('between two idle connections, the one that nobody leases is closed', async (t) => {
  const router = world.router({ budget: 2 })
  const lease = await router.lease(a.tenantId)
  await lease.db.selectFrom('canary').selectAll().execute()
  await read(router, b.tenantId)
  await read(router, c.tenantId)
  await lease.db.selectFrom('canary').selectAll().execute()
  t.equal(router.stats().opens, 3)
  lease.release()
})

world.test('idle connections are closed after a while, and their pool is forgotten', async (t) => {
  const router = world.router({ idleTimeoutMs: 40 })
  await read(router, a.tenantId)
  await until(() => router.stats().pools === 0)
  t.equal(router.stats().clusters[0]?.permitsUsed, 0)
  t.equal(router.stats().evictions, 1)
})

world.test(
  'a failed connect says so, leaks nothing, and is over as soon as the database is back',
  async (t) => {
    const router = world.router({ budget: 3, acquireTimeoutMs: 2_000 })
    const broken = {
      'nobody listens on the port': { host: '127.0.0.1', port: 1 },
      'no socket there': { host: '/nowhere' },
      'no such host': { host: 'nowhere.invalid' },
      'not a port': { host: '127.0.0.1', port: 99_999 },
      'wrong password': { password: 'wrong' },
      'no such database': { database: 'nowhere' },
    }
    for (const [name, change] of Object.entries(broken)) {
      world.master.set(a.tenantId, { ...a, address: { ...a.address, ...change } })
      router.invalidate(a.tenantId)
      const errors = await Promise.all(
        Array.from({ length: 10 }, () => read(router, a.tenantId).catch((e: unknown) => e)),
      )
      for (const error of errors) {
        t.ok(isAppError(error, 'database_unavailable'), name)
        t.notMatch(String(error), /ECONN|ENOENT|password|nowhere|port/i)
      }
      await until(() => router.stats().clusters[0]?.permitsUsed === 0)
      await until(() => router.stats().pools === 0)
    }
    world.master.set(a.tenantId, a)
    router.invalidate(a.tenantId)
    t.equal(await read(router, a.tenantId), a.tenantId)
  },
)

world.test('a server that takes the connection and says nothing is unavailable in time', async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as AddressInfo
  world.master.set(a.tenantId, { ...a, address: { ...a.address, host: '127.0.0.1', port } })
  const router = world.router({ acquireTimeoutMs: 500 })
  t.equal(await codeOf(read(router, a.tenantId)), 'database_unavailable')
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
})

world.test('a server that is out of connections for this role is unavailable, not a 500', async (t) => {
  await world.admin(`alter role ${a.address.user} connection limit 0`)
  t.teardown(() => world.admin(`alter role ${a.address.user} connection limit -1`))
  const router = world.router()
  t.equal(await codeOf(read(router, a.tenantId)), 'database_unavailable')
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
})

world.test('when some connects fail and others work, everyone is served by those that work', async (t) => {
  await world.admin(`alter role ${a.address.user} connection limit 1`)
  t.teardown(() => world.admin(`alter role ${a.address.user} connection limit -1`))
  const router = world.router({ tenantMaxConnections: 4 })
  await read(router, a.tenantId)
  // So long that nobody waits behind another without asking for a further connection, however busy this process is.
  await Promise.all(Array.from({ length: 10 }, () => sleep(router, a.tenantId, 0.05)))
  t.ok(router.stats().openFailures > 0)
})

world.test('a sick cluster does not hold up a healthy one', async (t) => {
  const router = world.router({ budget: 2, acquireTimeoutMs: 30_000 })
  const dark = { ...a, clusterId: 'dark', address: { ...a.address, host: '127.0.0.1', port: 1 } }
  world.master.set(a.tenantId, dark)
  const lost = Array.from({ length: 20 }, () => codeOf(read(router, a.tenantId)))
  t.equal(await read(router, b.tenantId), b.tenantId)
  t.same(new Set(await Promise.all(lost)), new Set(['database_unavailable']))
})
