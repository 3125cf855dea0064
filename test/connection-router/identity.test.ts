import { sql } from 'kysely'
import t from 'tap'
import { codeOf, startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]

const read = (router: TestRouter, tenantId: string): Promise<string | undefined> =>
  router.use(tenantId, async (db) => (await db.selectFrom('canary').selectAll().executeTakeFirst())?.word)

/** The deed of tenant a now names tenant b's database. */
const moved = { ...b, tenantId: a.tenantId, epoch: 2 }

world.test('after the deed is swapped, nothing is read from the old database', async (t) => {
  const router = world.router()
  t.equal(await read(router, a.tenantId), a.tenantId)
  world.master.set(a.tenantId, moved)
  router.invalidate(a.tenantId)
  t.equal(await read(router, a.tenantId), b.tenantId)
  await until(() => router.stats().clusters[0]?.permitsUsed === 1)
  t.equal(router.stats().pools, 1)
})

world.test(
  'a statement under way finishes on the old database; the lease goes on with the new one',
  async (t) => {
    const router = world.router()
    const lease = await router.lease(a.tenantId)
    const slow = sql<{ word: string }>`select word from canary, pg_sleep(0.2)`.execute(lease.db)
    await until(() => router.stats().clusters[0]?.busy === 1)
    world.master.set(a.tenantId, moved)
    router.invalidate(a.tenantId)
    const after = await lease.db.selectFrom('canary').selectAll().executeTakeFirst()
    t.equal(after?.word, b.tenantId)
    t.equal((await slow).rows[0]?.word, a.tenantId)
    await until(() => router.stats().clusters[0]?.permitsUsed === 1)
    lease.release()
  },
)

world.test('a transaction stays on the database on which it began', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      world.master.set(a.tenantId, moved)
      router.invalidate(a.tenantId)
      t.equal(await read(router, a.tenantId), b.tenantId)
      t.equal((await trx.selectFrom('canary').selectAll().executeTakeFirst())?.word, a.tenantId)
    }),
  )
})

world.test(
  'those who wait for a connection when the deed is swapped get one of the new database',
  async (t) => {
    const router = world.router({ tenantMaxConnections: 1 })
    const slow = router.use(a.tenantId, (db) => sql`select pg_sleep(0.2)`.execute(db))
    await until(() => router.stats().clusters[0]?.busy === 1)
    const waiting = Array.from({ length: 5 }, () => read(router, a.tenantId))
    await until(() => router.stats().waiters === 5)
    world.master.set(a.tenantId, moved)
    router.invalidate(a.tenantId)
    t.same(new Set(await Promise.all(waiting)), new Set([b.tenantId]))
    await slow
  },
)

world.test('a new secret gets new connections, and the old ones are closed', async (t) => {
  const router = world.router()
  await read(router, a.tenantId)
  world.master.set(a.tenantId, { ...a, credentialVersion: 2 })
  router.invalidate(a.tenantId)
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
  await read(router, a.tenantId)
  t.equal(router.stats().opens, 2)
})

world.test('an invalidation that changes nothing costs no connection', async (t) => {
  const router = world.router()
  await read(router, a.tenantId)
  router.invalidate(a.tenantId)
  router.invalidateAll()
  await read(router, a.tenantId)
  t.equal(router.stats().opens, 1)
})

world.test(
  'a suspended tenant that nobody uses loses its idle connections at once, and gets no new ones',
  async (t) => {
    const router = world.router()
    await read(router, a.tenantId)
    world.master.set(a.tenantId, { ...a, status: 'suspended' })
    router.invalidate(a.tenantId)
    await until(() => router.stats().clusters[0]?.permitsUsed === 0)
    t.equal(await codeOf(router.lease(a.tenantId)), 'tenant_suspended')
    world.master.set(a.tenantId, a)
    router.invalidate(a.tenantId)
    t.equal(await read(router, a.tenantId), a.tenantId)
  },
)

world.test('while the channel is silent, a suspension is seen without an invalidation', async (t) => {
  let isFresh = true
  const router = world.router({ isFresh: () => isFresh })
  await read(router, a.tenantId)
  world.master.set(a.tenantId, { ...a, status: 'suspended' })
  t.equal(await read(router, a.tenantId), a.tenantId)
  isFresh = false
  t.equal(await codeOf(read(router, a.tenantId)), 'tenant_suspended')
})

world.test('with warm caches nobody asks the master', async (t) => {
  let asked = 0
  const router = world.router({
    findTenant: (tenantId) => {
      asked += 1
      return world.findTenant(tenantId)
    },
  })
  for (let i = 0; i < 20; i++) await read(router, i % 2 === 0 ? a.tenantId : b.tenantId)
  t.equal(asked, 2)
})

world.test('an older look-up that ends late does not bring the old database back', async (t) => {
  const answers: (() => void)[] = []
  let slow = false
  const router = world.router({
    findTenant: async (tenantId) => {
      const found = world.master.get(tenantId)
      if (slow) await new Promise<void>((resolve) => answers.push(resolve))
      return found
    },
  })
  slow = true
  const early = read(router, a.tenantId)
  await until(() => answers.length === 1)
  slow = false
  world.master.set(a.tenantId, moved)
  router.invalidate(a.tenantId)
  t.equal(await read(router, a.tenantId), b.tenantId)
  for (const answer of answers) answer()
  t.equal(await early, b.tenantId)
  t.equal(router.stats().opens, 1)
})
