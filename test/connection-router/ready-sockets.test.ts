import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { unopened } from '../../src/connection-router/connect-errors.ts'
import { ConnectGate, maxConnecting } from '../../src/connection-router/connect-gate.ts'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import { ReadySockets } from '../../src/connection-router/ready-sockets.ts'
import { newTenantClient } from '../../src/connection-router/tenant-client.ts'
import { startWorld, type TestRouter, until, wordOf } from './world.ts'

const world = await startWorld(t, 3)
const [a, b, c] = [world.tenant(0), world.tenant(1), world.tenant(2)]

/** One who came to the door: what they said, in which pieces. */
type Guest = {
  readonly socket: Socket
  readonly said: string[]
  gone: boolean
  fate?: 'hears nothing' | 'is reset'
}

/** Stands before the server, passes everything on, and keeps a list of who came. Opens no session before something is said. */
const standBefore = async (t: Test, tenants: readonly PlacedTenant[]): Promise<Guest[]> => {
  const { host, port } = a.address
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }
  const guests: Guest[] = []
  const door = createServer({ allowHalfOpen: true }, (socket) => {
    const guest: Guest = { socket, said: [], gone: false }
    guests.push(guest)
    socket
      .on('error', () => {})
      .on('close', () => {
        guest.gone = true
      })
    socket.on('data', (bytes: Buffer) => guest.said.push(bytes.toString('latin1')))
    socket.once('end', () => {
      if (guest.said.length === 0) socket.end()
    })
    socket.once('data', (bytes: Buffer) => {
      if (guest.fate === 'is reset') socket.resetAndDestroy()
      if (guest.fate !== undefined) return
      const session = createConnection({ ...target, allowHalfOpen: true }).on('error', () => socket.destroy())
      session.write(bytes)
      socket.pipe(session)
      session.on('data', (answer) => socket.write(answer))
      // The server has forgotten the session when the router hears of its end.
      session.on('end', () => setTimeout(() => socket.end(), 20))
    })
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  t.teardown(() => door.close())
  const address = { host: '127.0.0.1', port: (door.address() as AddressInfo).port }
  for (const tenant of tenants)
    world.master.set(tenant.tenantId, { ...tenant, address: { ...tenant.address, ...address } })
  return guests
}

/** A router that has connected to `a`, and those who came: its connection, and a socket on which nothing was said. */
const withReadySocket = async (t: Test): Promise<{ router: TestRouter; guests: Guest[] }> => {
  const guests = await standBefore(t, [a, b, c])
  const router = world.router()
  await wordOf(router, a)
  await until(() => guests.length === 2)
  return { router, guests }
}

world.test('the next connection is opened on a socket that is ready', async (t) => {
  const { router, guests } = await withReadySocket(t)
  t.strictSame(guests[1]?.said, [], 'nothing was said on it')
  t.equal(router.permitsUsed('main'), 1)
  t.equal(await wordOf(router, b), b.tenantId)
  t.match(guests[1]?.said[0], b.address.database)
  t.notMatch(guests[1]?.said.join(''), a.address.database)
  await until(() => guests.length === 3)
  t.equal(await wordOf(router, c), c.tenantId, 'and the one after it')
  t.match(guests[2]?.said[0], c.address.database)
})

world.test('nobody is kept from it by one that is no longer good', async (t) => {
  const { router, guests } = await withReadySocket(t)
  guests[1]?.socket.destroy()
  await until(() => guests[1]?.gone === true)
  // A turn of the loop in which the router hears of it.
  await sleep(5)
  t.equal(await wordOf(router, b), b.tenantId)
  await until(() => guests.length === 4)
  // What a server says of itself before it was asked anything is why it hangs up.
  guests[3]?.socket.write('E')
  await sleep(20)
  t.equal(await wordOf(router, c), c.tenantId)
  t.strictSame(guests[3]?.said, [])
  await until(() => guests[3]?.gone === true)
})

for (const fate of ['hears nothing', 'is reset'] as const) {
  world.test(`one that ${fate} although it looked good costs nobody more than time`, async (t) => {
    const { router, guests } = await withReadySocket(t)
    const [, ready] = guests
    if (ready !== undefined) ready.fate = fate
    const began = performance.now()
    t.equal(await wordOf(router, b), b.tenantId)
    // A connect of its own has four seconds.
    t.ok(performance.now() - began < 3_500)
    t.equal(ready?.said.length, 1, 'it was used')
    t.equal(router.stats().clusters[0]?.breaker, 'closed')
  })
}

world.test('the breaker is told nothing by one that was stale, unless it was the probe', async (t) => {
  let now = 0
  const gate = new ConnectGate({ now: () => now, isStorm: () => false })
  const fail = (unheard: boolean) => gate.begin()?.end(unopened(new Error('reset'), unheard, false))
  for (let n = 0; n < 10; n += 1) fail(true)
  t.equal(gate.breaker, 'closed')
  t.equal(gate.room, maxConnecting)
  for (let n = 0; n < 10; n += 1) fail(false)
  t.equal(gate.breaker, 'open')
  now += 500
  const probe = gate.begin()
  t.equal(gate.breaker, 'half-open')
  probe?.end(unopened(new Error('reset'), true, false))
  t.equal(gate.breaker, 'open')
})

world.test('hung up on in the same moment, it costs nobody anything', async (t) => {
  const { router, guests } = await withReadySocket(t)
  guests[1]?.socket.end()
  t.equal(await wordOf(router, b), b.tenantId)
  t.equal(router.stats().clusters[0]?.breaker, 'closed')
})

world.test('a router that closes leaves no socket behind', async (t) => {
  const { router, guests } = await withReadySocket(t)
  await router.close()
  // It would be given up by itself, later.
  await Promise.race([sleep(2_500, undefined, { ref: false }), until(() => guests.every(({ gone }) => gone))])
  t.ok(guests.every(({ gone }) => gone))
})

/** Ready sockets by themselves, and who comes to the door of one of them. */
const withSockets = async (t: Test, keptMs: number) => {
  const guests = await standBefore(t, [a])
  const sockets = new ReadySockets({ keptMs })
  t.teardown(() => sockets.close())
  const { address } = world.master.get(a.tenantId) as PlacedTenant
  return { guests, sockets, address }
}

world.test('a socket is given up when nobody comes for it', async (t) => {
  const { guests, sockets, address } = await withSockets(t, 50)
  sockets.prepare(address)
  await until(() => guests[0]?.gone === true)
  t.equal(sockets.take(address), undefined)
})

world.test('a socket leads to the server that it is taken for', async (t) => {
  const { guests, sockets, address } = await withSockets(t, 60_000)
  sockets.prepare(address)
  await until(() => guests.length === 1)
  t.equal(sockets.take({ ...address, port: address.port + 1 }), undefined)
  t.equal(sockets.take({ ...address, host: 'localhost' }), undefined)
  sockets.take(address)?.socket.destroy()
  await until(() => guests[0]?.gone === true)
  t.equal(sockets.take(address), undefined, 'and is given to one only')
})

world.test('where no server is, no socket becomes ready', async (t) => {
  const { guests, sockets, address } = await withSockets(t, 60_000)
  const nowhere = { ...address, host: '/nowhere' }
  sockets.prepare(nowhere)
  sockets.prepare(address)
  // Its dial came after the other one.
  await until(() => guests.length === 1)
  t.equal(sockets.take(nowhere), undefined)
  sockets.take(address)?.socket.destroy()
})

world.test('while a tenant is looked up, a socket to the server becomes ready', async (t) => {
  const guests = await standBefore(t, [a, b, c])
  const found = Promise.withResolvers<void>()
  const router = world.router({
    findTenant: async (tenantId) => {
      if (tenantId !== a.tenantId) await found.promise
      return world.findTenant(tenantId)
    },
  })
  await router.warm(b.tenantId)
  t.equal(guests.length, 0, 'none before the first connect')
  await wordOf(router, a)
  await until(() => guests[1]?.gone === true)
  await router.warm(a.tenantId)
  await sleep(50)
  t.equal(guests.length, 2, 'none for somebody who has a connection')
  await router.warm(b.tenantId)
  await until(() => guests.length === 3)
  await router.warm(c.tenantId)
  await sleep(50)
  t.equal(guests.length, 3, 'one for both')
  found.resolve()
  t.equal(await wordOf(router, b), b.tenantId)
  t.equal(await wordOf(router, c), c.tenantId)
  t.not(guests[2]?.said.length, 0, 'it was used')
})

world.test('what is anticipated does not wait for the pause, and is dialled once', async (t) => {
  const { guests, sockets, address } = await withSockets(t, 60_000)
  sockets.prepare(address)
  sockets.anticipate()
  const early = sockets.take(address)
  t.equal(early?.mayBeStale, false, 'it is there in the same moment, and new')
  await until(() => guests.length === 1)
  sockets.anticipate()
  sockets.anticipate()
  sockets.prepare(address)
  await until(() => guests.length === 2)
  await sleep(1_100)
  t.equal(guests.length, 2)
  const late = sockets.take(address)
  t.equal(late?.mayBeStale, true, 'in time it may be stale')
  for (const ready of [early, late]) ready?.socket.destroy()
  sockets.close()
  sockets.anticipate()
  t.equal(sockets.take(address), undefined, 'nor after the close')
})

for (const mayBeStale of [true, false]) {
  world.test(
    `a socket that is ${mayBeStale ? '' : 'not '}old is ${mayBeStale ? 'an' : 'no'} excuse for silence`,
    async (t) => {
      const guests = await standBefore(t, [a])
      const { address } = world.master.get(a.tenantId) as PlacedTenant
      const ready = { socket: createConnection(address.port, address.host), mayBeStale }
      const client = newTenantClient(address, {
        statementTimeoutMs: 1_000,
        sockets: { take: () => ready, prepare: () => {} },
      })
      t.equal(client.unheard, mayBeStale)
      await until(() => guests.length === 1)
      ready.socket.destroy()
    },
  )
}

world.test('when they are closed, what is ready goes, and nothing becomes ready any more', async (t) => {
  const { guests, sockets, address } = await withSockets(t, 60_000)
  sockets.prepare(address)
  await until(() => guests.length === 1)
  sockets.close()
  await until(() => guests[0]?.gone === true)
  sockets.prepare(address)
  await sleep(50)
  t.equal(guests.length, 1)
})
