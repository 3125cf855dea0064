import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { codeOf, startWorld, until } from './world.ts'

const world = await startWorld(t, 1)
const a = world.tenant(0)

/** A network between the router and the server, which can swallow everything without a word. */
const network = async (t: Test) => {
  const { host, port } = a.address
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }
  const wires = new Set<Socket>()
  let dark = false
  const server = createServer({ allowHalfOpen: true }, (inbound) => {
    const outbound = createConnection({ ...target, allowHalfOpen: true })
    wires.add(inbound).add(outbound)
    inbound.on('data', (bytes) => dark || outbound.write(bytes))
    outbound.on('data', (bytes) => dark || inbound.write(bytes))
    // The server's side finds out by itself, some day.
    inbound.on('end', () => (dark ? outbound.destroy() : outbound.end()))
    outbound.on('end', () => dark || inbound.end())
    inbound.on('close', () => outbound.destroy())
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
    mend: () => {
      dark = false
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
  t.equal(router.stats().opens, 1)
})

world.test('one lost connection of a server that is there ends after the statement timeout', async (t) => {
  const router = world.router({ statementTimeoutMs: 300 })
  const { swallow, mend } = await network(t)
  await router.use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  swallow()
  const lost = codeOf(router.use(a.tenantId, (db) => sql`update canary set word = word`.execute(db)))
  await until(() => router.stats().clusters[0]?.inFlight === 1)
  await new Promise(setImmediate)
  mend()
  t.equal(await lost, 'database_unavailable')
  await router.close()
  await sessionsEnd()
})
