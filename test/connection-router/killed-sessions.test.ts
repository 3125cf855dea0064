import { sql } from 'kysely'
import t from 'tap'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { blocked, cluster, type Db, increment, inFlight, openInside, read } from './in-flight.ts'
import { codeOf, startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 1)
const a = world.tenant(0)
const superuser = await openInside(world, a)
t.teardown(() => superuser.end())

/** Ends every session that the tenant has now. */
const terminate = async ({ address }: PlacedTenant): Promise<void> => {
  await world.admin(
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and application_name = 'freehold'`,
    [address.user],
  )
}

/** Ten reads in flight on one connection, which wait until `unlock`. */
const blockedReads = (router: TestRouter, db: Db) => {
  const reads = () => Array.from({ length: 10 }, () => read(db))
  return blocked(superuser, router, 'lock table canary in access exclusive mode', reads, reads)
}

world.test('a statement timeout fails its own statement; the connection takes no new ones', async (t) => {
  const router = world.router({ statementTimeoutMs: 150 })
  await router.use(a.tenantId, async (db) => {
    const mixed = (): Promise<unknown>[] => [
      increment(1).execute(db),
      ...Array.from({ length: 9 }, () => read(db)),
    ]
    const { results, unlock } = await blocked(
      superuser,
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
      superuser,
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
    const { results, unlock } = await blockedReads(router, db)
    await until(() => inFlight(router) === 10)
    await terminate(a)
    // More when the tenant's second connection, killed as well, was tried before that was known.
    await until(() => router.stats().retries >= 10)
    await unlock()
    for (const result of await results)
      t.match(
        result,
        { status: 'fulfilled', value: a.tenantId },
        String(result.status === 'rejected' && result.reason.cause),
      )
  })
})

world.test('a read survives that all sessions were killed, although word of one comes late', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    // A transaction holds one connection, so the reads beside it have another.
    await db.transaction().execute((trx) => Promise.all([sql`select 1`.execute(trx), read(db)]))
    const { results, unlock } = await blockedReads(router, db)
    const sessions = () =>
      world.admin<{ pid: number; state: string }>(
        `select pid, state from pg_stat_activity where usename = $1 and application_name = 'freehold' order by state`,
        [a.address.user],
      )
    await until(async () => (await sessions()).map(({ state }) => state).join() === 'active,idle')
    const pid = (await sessions())[1]?.pid ?? Number.NaN
    process.kill(pid, 'SIGSTOP')
    try {
      await terminate(a)
      // They are on their way to the session that is about to end.
      await until(() => router.stats().retries === 10 && inFlight(router) === 10)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until(() => router.stats().retries === 20)
    await unlock()
    for (const result of await results) t.match(result, { status: 'fulfilled', value: a.tenantId })
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
        superuser,
        router,
        'lock table canary in access exclusive mode',
        one,
        one,
      )
      await terminate(a)
      for (const { status } of await results) t.equal(status, 'rejected')
      await unlock()
      await until(() => cluster(router).permitsUsed === 0)
    })
  }
  t.equal(router.stats().retries, 0)
})

world.test('a suspended tenant keeps what is in flight, and nobody new gets in', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const { results, unlock } = await blockedReads(router, db)
    await until(() => inFlight(router) === 10)
    world.master.set(a.tenantId, { ...a, status: 'suspended' })
    router.invalidate(a.tenantId)
    t.equal(await codeOf(router.use(a.tenantId, read)), 'tenant_suspended')
    await unlock()
    for (const { status } of await results) t.equal(status, 'fulfilled')
  })
  await until(() => cluster(router).permitsUsed === 0)
})
