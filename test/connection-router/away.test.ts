import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import t from 'tap'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { codeOf, startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 6)
const [healthy, other] = [world.tenant(0), world.tenant(1)]

const read = (router: TestRouter, tenantId: string): Promise<string | undefined> =>
  router.use(tenantId, async (db) => (await db.selectFrom('canary').selectAll().executeTakeFirst())?.word)

const clusterOf = (router: TestRouter, clusterId: string) =>
  router.stats().clusters.find((cluster) => cluster.clusterId === clusterId)

/** A second server, with the same tenants' roles and databases on cluster `second`, that a test stops and starts. */
const startSecond = async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'freehold-second-'))
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const start = () => startEmbeddedPostgres({ dataDir, durable: false, maxConnections: 40 })
  let server = await start()
  t.teardown(() => server.stop())
  const admin = new pg.Client(clientOptions(server.superuser))
  await admin.connect()
  for (const { address } of world.tenants) {
    await admin.query(`create role ${address.user} login password '${address.password}'`)
    await admin.query(`create database ${address.user} owner ${address.user}`)
  }
  await admin.end()
  return {
    superuser: () => server.superuser,
    place: (tenant: PlacedTenant): PlacedTenant => {
      const { host, port } = server.superuser
      return { ...tenant, clusterId: 'second', address: { ...tenant.address, host, port } }
    },
    stop: () => server.stop(),
    start: async () => {
      server = await start()
    },
  }
}

const second = await startSecond()

/** The tenants with these numbers live on the second server. */
const moveToSecond = (router: TestRouter, ...numbers: number[]): void => {
  for (const number of numbers) {
    const tenant = world.tenant(number)
    world.master.set(tenant.tenantId, second.place(tenant))
    router.invalidate(tenant.tenantId)
  }
}

const one = (router: TestRouter, number: number): Promise<unknown> =>
  router.use(world.tenant(number).tenantId, (db) => db.selectNoFrom((e) => e.lit(1).as('one')).execute())

world.test(
  'a stopped server is found out, its tenants are refused at once, and others never wait',
  async (t) => {
    const router = world.router({ acquireTimeoutMs: 20_000 })
    moveToSecond(router, 2, 3, 4)
    await one(router, 2)
    await read(router, healthy.tenantId)
    await second.stop()
    await until(async () => {
      await one(router, 3).catch(() => {})
      return clusterOf(router, 'second')?.breaker === 'open'
    })
    const { opens } = router.stats()
    const refused = await Promise.all([2, 3, 4].map((number) => one(router, number).catch((e: unknown) => e)))
    for (const error of refused) {
      t.ok(isAppError(error, 'database_unavailable'))
      t.match(error, { status: 503, retryAfter: Number })
    }
    t.equal(router.stats().opens, opens, 'nothing was tried')
    t.equal(await read(router, other.tenantId), other.tenantId)
    t.equal(clusterOf(router, 'main')?.breaker, 'closed')
    await second.start()
    moveToSecond(router, 2, 3, 4)
    await until(() =>
      one(router, 3).then(
        () => true,
        () => false,
      ),
    )
    t.equal(clusterOf(router, 'second')?.breaker, 'closed')
    await Promise.all([2, 3, 4].map((number) => one(router, number)))
  },
)

world.test(
  'who waits when the server goes away is told so, and does not wait for the deadline',
  async (t) => {
    const router = world.router({ budget: 1, acquireTimeoutMs: 20_000 })
    moveToSecond(router, 2, 3, 4)
    await one(router, 2)
    const lease = await router.lease(world.tenant(2).tenantId)
    const transaction = lease.db.transaction().execute(async (trx) => {
      await trx.selectNoFrom((e) => e.lit(1).as('one')).execute()
      await until(() => router.stats().waiters === 20)
      await second.stop()
    })
    const waiting = Array.from({ length: 20 }, (_, i) => codeOf(one(router, 3 + (i % 2))))
    await transaction.catch(() => {})
    lease.release()
    t.same(new Set(await Promise.all(waiting)), new Set(['database_unavailable']))
    t.equal(router.stats().timeouts, 0)
    await second.start()
  },
)

world.test('a foreign client that takes every connection: 503 at once, and over when it goes', async (t) => {
  const router = world.router({ budget: 8, acquireTimeoutMs: 20_000 })
  moveToSecond(router, 2, 3)
  await one(router, 2)
  const { superuser } = second
  const foreign: pg.Client[] = []
  for (let full = false; !full; ) {
    const client = new pg.Client(clientOptions(superuser()))
    client.on('error', () => {})
    full = await client.connect().then(
      () => false,
      () => true,
    )
    if (!full) foreign.push(client)
  }
  await until(async () => {
    t.equal(await codeOf(one(router, 3)), 'database_unavailable')
    return clusterOf(router, 'second')?.breaker === 'open'
  })
  await one(router, 2)
  t.pass('who has a connection goes on')
  await Promise.all(foreign.map((client) => client.end()))
  await until(() =>
    one(router, 3).then(
      () => true,
      () => false,
    ),
  )
})

world.test("one tenant's own trouble does not open the cluster's breaker", async (t) => {
  const router = world.router()
  await world.admin(`alter role ${other.address.user} connection limit 0`)
  t.teardown(() => world.admin(`alter role ${other.address.user} connection limit -1`))
  const broken = world.tenant(2)
  world.master.set(broken.tenantId, { ...broken, address: { ...broken.address, password: 'wrong' } })
  const gone = world.tenant(3)
  world.master.set(gone.tenantId, { ...gone, address: { ...gone.address, database: 'nowhere' } })
  for (let i = 0; i < 8; i++) {
    for (const { tenantId } of [other, broken, gone])
      t.equal(await codeOf(read(router, tenantId)), 'database_unavailable')
  }
  t.equal(clusterOf(router, 'main')?.breaker, 'closed')
  t.equal(await read(router, healthy.tenantId), healthy.tenantId)
})
