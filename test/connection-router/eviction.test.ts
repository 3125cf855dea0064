import t from 'tap'
import { maxConnecting, maxConnectingInStorm } from '../../src/connection-router/connect-gate.ts'
import { Simulation, settle } from './budget-simulation.ts'
import { startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 20)

const read = (router: TestRouter, number: number): Promise<unknown> =>
  router.use(world.tenant(number).tenantId, (db) => db.selectFrom('canary').selectAll().execute())

/** A use that counts: later than the last one by more than a connect takes. */
const readAgain = async (router: TestRouter, number: number): Promise<void> => {
  await read(router, number)
  await new Promise((resolve) => setTimeout(resolve, 6))
}

world.test('tenants that come once do not cost the frequent ones their connections', async (t) => {
  const router = world.router({ budget: 5 })
  const frequent = [0, 1, 2]
  for (let i = 0; i < 5; i++) for (const number of frequent) await readAgain(router, number)
  t.equal(router.stats().opens, 3)
  for (let number = 3; number < 20; number++) await read(router, number)
  t.equal(router.stats().opens, 20, 'each of them was served')
  for (const number of frequent) await read(router, number)
  t.equal(router.stats().opens, 20, 'on the connections that they had')
})

world.test("a tenant's second connection goes before another's only one", async (t) => {
  const router = world.router({ budget: 4, tenantMaxConnections: 3 })
  await read(router, 0)
  const lease = await router.lease(world.tenant(1).tenantId)
  await lease.db.transaction().execute(async (one) => {
    await one.selectFrom('canary').selectAll().execute()
    await lease.db.transaction().execute(async (two) => {
      await two.selectFrom('canary').selectAll().execute()
      await lease.db.transaction().execute((three) => three.selectFrom('canary').selectAll().execute())
    })
  })
  lease.release()
  t.equal(router.stats().clusters[0]?.idle, 4)
  await read(router, 2)
  await read(router, 3)
  const { opens } = router.stats()
  await Promise.all([0, 1, 2, 3].map((number) => read(router, number)))
  t.equal(router.stats().opens, opens, 'each of the four kept one')
})

world.test(
  'a smaller share closes idle connections at once, and never one with a statement under way',
  async (t) => {
    const router = world.router({ budget: 6 })
    for (let number = 0; number < 6; number++) await read(router, number)
    const lease = await router.lease(world.tenant(0).tenantId)
    await lease.db.transaction().execute(async (trx) => {
      await trx.selectFrom('canary').selectAll().execute()
      router.setShare('main', 0)
      await until(() => router.stats().clusters[0]?.permitsUsed === 1)
      await trx.selectFrom('canary').selectAll().execute()
    })
    await until(() => router.stats().clusters[0]?.permitsUsed === 0)
    const { opens } = router.stats()
    const waiting = read(router, 3)
    t.equal(router.stats().waiters, 0)
    await until(() => router.stats().waiters === 1)
    t.equal(router.stats().opens, opens, 'nothing opens')
    router.setShare('main', 1)
    await waiting
    lease.release()
  },
)

world.test('of a storm of connects only a few are under way at once', async (t) => {
  const router = world.router({ budget: 20, acquireTimeoutMs: 20_000 })
  const work = Promise.all(Array.from({ length: 20 }, (_, number) => read(router, number)))
  let most = 0
  await until(() => {
    const [cluster] = router.stats().clusters
    most = Math.max(most, cluster?.opening ?? 0)
    return router.stats().opens === 20
  })
  await work
  t.ok(most > 1 && most <= maxConnecting, `${most} at most`)
})

world.test('cut: every connection ends, statements say so, and the router goes on', async (t) => {
  const router = world.router()
  await read(router, 1)
  const failed = router.use(world.tenant(0).tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      await trx.selectFrom('canary').selectAll().execute()
      router.cut()
      await trx.selectFrom('canary').selectAll().execute()
    }),
  )
  await t.rejects(failed, { code: 'database_unavailable' })
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
  // The server ends a session whose socket was cut when it reads from it next.
  await until(async () => (await world.sessions()) === 0)
  await read(router, 0)
})

t.test('connects that have only begun, or failed, do not take the newcomers their places', async (t) => {
  // Ten places, one of them for whoever came last.
  const books = new Simulation(10, 10)
  const use = async (tenantId: string): Promise<void> => {
    // Late enough to count.
    books.nowMs += 10
    books.acquire(tenantId)
    await settle()
    for (const connection of books.alive) if (connection.state === 'opening') connection.succeed()
    await settle()
    books.release(0, true)
  }
  for (const _ of [1, 2, 3]) for (let n = 0; n < 9; n++) await use(`hot ${n}`)
  await use('newcomer')
  const newcomer = books.connections.at(-1)
  t.equal(newcomer?.pool.tenantId, 'newcomer')
  const begin = async (tenantId: string): Promise<void> => {
    books.acquire(tenantId)
    await settle()
    for (const connection of books.alive) if (connection.closing) connection.end()
    await settle()
  }
  for (const n of [1, 2, 3]) await begin(`away ${n}`)
  t.equal(books.alive.filter(({ state }) => state === 'opening').length, 3, 'each has taken a place')
  t.equal(newcomer?.state, 'open')
  for (const connection of books.alive) if (connection.state === 'opening') connection.fail()
  await settle()
  for (const connection of books.alive) if (connection.closing) connection.end()
  for (const n of [1, 2, 3, 4]) await begin(`further ${n}`)
  t.equal(books.alive.length, 10, 'there was room for three of them')
  t.equal(newcomer?.state, 'open')
  await books.finish()
})

t.test(
  'when more tenants wait than can have a connection, more connects are under way at once',
  async (t) => {
    const books = new Simulation(10, 10)
    const opening = (): number => books.alive.filter(({ state }) => state === 'opening').length
    for (let n = 0; n < 10; n++) books.acquire(`${n}`)
    for (let n = 0; n < 10; n++) books.acquire('0')
    await settle()
    t.equal(opening(), maxConnecting)
    books.acquire('one more')
    await settle()
    t.equal(opening(), maxConnectingInStorm)
    await books.finish()
  },
)
