import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { TenantPlacement } from '../../src/connection-router/directory.ts'
import { startWorld, until } from './world.ts'

const world = await startWorld(t, 1)
const { tenantId } = world.tenant(0)

/** A server that takes connections and says nothing. */
const silentServer = async (t: Test): Promise<{ port: number; sockets: Set<Socket> }> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, sockets }
}

world.test('a connection that is warmed is the one the statement then takes', async (t) => {
  const router = world.router()
  void router.warm(tenantId)
  void router.warm(tenantId)
  const rows = await router.use(tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  t.ok(rows.length > 0)
  const { opens, leases, waiters, clusters } = router.stats()
  t.match({ opens, leases, waiters }, { opens: 1, leases: 0, waiters: 0 })
  t.equal(clusters[0]?.idle, 1)
})

world.test('warmed for nobody it becomes idle and is in nobody’s way', async (t) => {
  const router = world.router()
  void router.warm(tenantId)
  await until(() => router.stats().clusters[0]?.idle === 1)
  t.match(router.stats(), { opens: 1, leases: 0, waiters: 0 })
  void router.warm(tenantId)
  await router.use(tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  t.equal(router.stats().opens, 1)
})

world.test('warming what cannot be reached or does not exist harms nobody', async (t) => {
  const router = world.router()
  await router.warm('01a1fc88-1d40-73d4-998d-d2e5efdfe288')
  await router.use(tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  await until(() => router.stats().leases === 0)
  t.equal(router.stats().opens, 1)
  await router.close()
  await router.warm(tenantId)
  t.equal(router.stats().leases, 0)
})

world.test('nobody waits for long for a master that does not answer', async (t) => {
  let asked = 0
  const found = Promise.withResolvers<undefined>()
  const findTenant = () => {
    asked += 1
    return found.promise
  }
  const slow = world.router({ findTenant })
  await slow.warm(tenantId)
  t.equal(asked, 1)
  const silent = world.router({ findTenant, isFresh: () => false })
  let [resolved, turns] = [false, 0]
  void silent.warm(tenantId).then(() => {
    resolved = true
  })
  for (; !resolved && turns < 10; turns += 1) await Promise.resolve()
  t.ok(resolved, 'nor at all while each use is looked up again')
  found.resolve(undefined)
  await until(() => slow.stats().leases + silent.stats().leases === 0)
})

world.test('while the server has not challenged it waits, but not for long', async (t) => {
  const { port, sockets } = await silentServer(t)
  const findTenant = async (id: string): Promise<TenantPlacement | undefined> => {
    const placement = await world.findTenant(id)
    if (placement === undefined || !('address' in placement)) return placement
    return { ...placement, address: { ...placement.address, host: '127.0.0.1', port } }
  }
  const router = world.router({ findTenant })
  let resolved = false
  const warming = router.warm(tenantId).then(() => {
    resolved = true
  })
  while (router.stats().opens === 0) await Promise.resolve()
  await new Promise(setImmediate)
  t.notOk(resolved)
  await warming
  t.match(router.stats(), { clusters: [{ opening: 1 }] })
  for (const socket of sockets) socket.destroy()
  await until(() => router.stats().leases === 0)
})

world.test('it resolves when the login has been said, before the connection is open', async (t) => {
  const router = world.router()
  await router.warm(tenantId)
  t.match(router.stats(), { opens: 1, clusters: [{ opening: 1, idle: 0 }] })
  await until(() => router.stats().clusters[0]?.idle === 1)
  await router.warm(tenantId)
  t.equal(router.stats().opens, 1, 'and at once when there is nothing to open')
  await until(() => router.stats().leases === 0)
})
