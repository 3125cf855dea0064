import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { codeOf, startWorld, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]

/** A network between the router and the server, which can swallow everything without a word, or what is on today's wires. */
const network = async (t: Test) => {
  const { host, port } = a.address
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }
  const wires = new Set<Socket>()
  const lost = new Set<Socket>()
  let [dark, trickling] = [false, false]
  const trickled = new WeakMap<Socket, Promise<void>>()
  const trickle = (inbound: Socket, bytes: Buffer): void => {
    const send = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, (50 * bytes.length) / 65_536))
      inbound.write(bytes)
    }
    trickled.set(inbound, (trickled.get(inbound) ?? Promise.resolve()).then(send))
  }
  const server = createServer({ allowHalfOpen: true }, (inbound) => {
    const outbound = createConnection({ ...target, allowHalfOpen: true })
    wires.add(inbound).add(outbound)
    const gone = (): boolean => dark || lost.has(inbound)
    inbound.on('data', (bytes) => gone() || outbound.write(bytes))
    outbound.on('data', (bytes) => gone() || (trickling ? trickle(inbound, bytes) : inbound.write(bytes)))
    // A server that hears nothing finds out by itself, some day.
    inbound.on('end', () => (dark ? outbound.destroy() : gone() || outbound.end()))
    outbound.on('end', () => gone() || inbound.end())
    inbound.on('close', () => (gone() && !dark ? undefined : outbound.destroy()))
    outbound.on('error', () => {})
    inbound.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const wire of wires) wire.destroy()
    server.close()
  })
  const { port: own } = server.address() as AddressInfo
  world.master.set(a.tenantId, { ...a, address: { ...a.address, host: '127.0.0.1', port: own } })
  return {
    swallow: () => {
      dark = true
    },
    /** From now on it takes 50 ms for each 64 kB, on each wire. */
    slow: () => {
      trickling = true
    },
    /** What was forgotten ends on the server's side, too. */
    end: () => {
      for (const wire of lost) wire.destroy()
    },
    /** As a firewall does that forgets connections it has not seen for long. */
    forget: () => {
      for (const wire of wires) lost.add(wire)
    },
  }
}

/** The server hears of the end when the network's own socket has closed. */
const sessionsEnd = (): Promise<void> => until(async () => (await world.sessions()) === 0)

world.test('a server that is gone without a word is found out long before any timeout', async (t) => {
  const router = world.router({ statementTimeoutMs: 600_000, acquireTimeoutMs: 600_000 })
  const { swallow } = await network(t)
  await router.use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  swallow()
  const write = router.use(a.tenantId, (db) => sql`update canary set word = word`.execute(db))
  t.equal(await codeOf(write), 'database_unavailable')
  t.equal(router.stats().halfOpen, 1)
  await router.close()
  await sessionsEnd()
})

world.test('a server that is there and busy is left alone', async (t) => {
  const router = world.router()
  await network(t)
  await router.use(a.tenantId, (db) => sql`select pg_sleep(4)`.execute(db))
  t.equal(router.stats().halfOpen, 0)
  const { opens, timeouts, waits } = router.stats()
  t.equal(opens, 2, 'another one asks what the first does, for as long as it takes')
  t.equal(timeouts, 0)
  t.equal(
    waits.counts.reduce((sum, n) => sum + n, 0),
    1,
    'and is no request',
  )
})

world.test('nobody loses a connection so that it can be asked', async (t) => {
  const router = world.router({ budget: 4 })
  await network(t)
  const all = Promise.withResolvers<void>()
  let begun = 0
  const transaction = () =>
    router.use(b.tenantId, (db) =>
      db.transaction().execute(async () => {
        begun += 1
        if (begun === 3) all.resolve()
        await all.promise
      }),
    )
  await Promise.all([transaction(), transaction(), transaction()])
  await router.use(a.tenantId, (db) => sql`select pg_sleep(2)`.execute(db))
  t.match(router.stats(), { opens: 4, steals: 0, yields: 0 })
})

world.test('a long answer over a slow network is waited for', async (t) => {
  const router = world.router()
  const { slow } = await network(t)
  await router.use(a.tenantId, (db) => sql`select 1`.execute(db))
  slow()
  const long = sql<{ word: string }>`select repeat('x', 4000000) as word`
  const { rows } = await router.use(a.tenantId, (db) => long.execute(db))
  t.equal(rows[0]?.word.length, 4_000_000)
  t.equal(router.stats().halfOpen, 0)
})

/** Far beyond what a test may take: only what finds out by itself ends in time. */
const patient = { statementTimeoutMs: 600_000, acquireTimeoutMs: 600_000 }

world.test('a connection that was lost on the way to a server that is there is found out', async (t) => {
  const router = world.router(patient)
  const { forget } = await network(t)
  await router.use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  forget()
  const write = router.use(a.tenantId, (db) => sql`update canary set word = word`.execute(db))
  t.equal(await codeOf(write), 'database_unavailable')
  t.equal(router.stats().halfOpen, 1)
  t.equal(await router.use(a.tenantId, (db) => sql`select 1`.execute(db).then(({ rows }) => rows.length)), 1)
  await router.close()
  await sessionsEnd()
})

world.test('so are all connections of a tenant, in a transaction too', async (t) => {
  const router = world.router(patient)
  const { forget } = await network(t)
  const begun = Promise.withResolvers<void>()
  const forgotten = Promise.withResolvers<void>()
  const transaction = router.use(a.tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      await sql`update canary set word = 'lost'`.execute(trx)
      begun.resolve()
      await forgotten.promise
      await sql`select 1`.execute(trx)
    }),
  )
  await begun.promise
  await router.use(a.tenantId, (db) => sql`select 1`.execute(db))
  t.equal(router.stats().clusters[0]?.permitsUsed, 2)
  forget()
  forgotten.resolve()
  const read = router.use(a.tenantId, (db) => sql`select 1`.execute(db))
  t.strictSame(await Promise.all([codeOf(transaction), codeOf(read)]), [
    'database_unavailable',
    'database_unavailable',
  ])
  t.equal(router.stats().halfOpen, 2)
  const again = router.use(a.tenantId, (db) => sql`update canary set word = word`.execute(db))
  t.equal((await again).numAffectedRows, 1n, 'the locks of the lost transaction are free')
  await router.close()
  await sessionsEnd()
})

world.test('with no connection to ask on, it ends after the statement timeout', async (t) => {
  const router = world.router({ statementTimeoutMs: 300, budget: 1 })
  const { forget, end } = await network(t)
  await router.use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  forget()
  const write = router.use(a.tenantId, (db) => sql`update canary set word = word`.execute(db))
  t.equal(await codeOf(write), 'database_unavailable')
  t.equal(router.stats().halfOpen, 0)
  end()
  await router.close()
  await sessionsEnd()
})
