import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { openChangeFeed, silenceMs } from '../../src/master/changes.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { connectTo } from '../helpers/postgres.ts'

const freehold = await startFreehold(t)
const { service, newTenant, join } = freehold

/** Waits until `check` holds; the suite's own time limit ends a wait that never does. */
const until = async (check: () => boolean): Promise<void> => {
  while (!check()) await sleep(5)
}

t.test('every change that caches must forget is announced by the master itself', async (t) => {
  const heard: string[] = []
  const feed = await openChangeFeed(
    service.master.address,
    { onChange: (change) => heard.push(change), onGap: () => {} },
    createLogger('silent'),
  )
  t.teardown(() => feed.close())
  const admin = await newTenant()
  const member = await join(admin, 'Viewer')
  const { db } = service.master
  heard.length = 0
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', member.personId).execute()
  await db
    .updateTable('memberships')
    .set({ status: 'inactive' })
    .where('person_id', '=', member.personId)
    .execute()
  await db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', admin.tenantId).execute()
  await db
    .updateTable('sessions')
    .set({ ended_at: new Date() })
    .where('person_id', '=', member.personId)
    .execute()
  await db.updateTable('databases').set({ epoch: 2 }).where('status', '=', 'held').execute()
  await db.deleteFrom('policy_permissions').where('permission', '=', 'tenant-api:*').execute()
  await until(() => heard.includes('access'))
  const tenant = `tenant:${admin.tenantId}`
  t.ok(heard.includes(`person:${member.personId}`))
  t.ok(heard.includes(`membership:${admin.tenantId}:${member.personId}`))
  t.equal(heard.filter((change) => change === tenant).length, 2, 'its own row, and its database')
  t.ok(heard.some((change) => change.startsWith('session:')))
})

t.test(
  'a lost channel is not fresh after 2 s at most; once back, everything is forgotten and fresh again',
  async (t) => {
    let gaps = 0
    const feed = await openChangeFeed(
      service.master.address,
      {
        onChange: () => {},
        onGap: () => {
          gaps += 1
        },
      },
      createLogger('silent'),
    )
    t.teardown(() => feed.close())
    t.ok(feed.isFresh())
    t.equal(gaps, 1)
    const superuser = await connectTo(t, freehold.superuser)
    await superuser.query(`alter role freehold_master connection limit 0`)
    t.teardown(() => superuser.query(`alter role freehold_master connection limit -1`))
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'freehold changes'`,
    )
    await until(() => !feed.isFresh())
    t.equal(gaps, 1)
    t.ok(silenceMs <= 1_500, 'the rest of the 2 s is for the request')
    await superuser.query(`alter role freehold_master connection limit -1`)
    await until(() => feed.isFresh())
    t.equal(gaps, 2)
  },
)

/** Another way to the master, on which what the server says can be late, or lost with its connection. */
const network = async (t: Test) => {
  const { address } = service.master
  const target = address.host.startsWith('/')
    ? { path: `${address.host}/.s.PGSQL.${address.port}` }
    : { host: address.host, port: address.port }
  const wires = new Set<Socket>()
  const lost = new Set<Socket>()
  const state: { lateMs: number; delivered: number; forgetAt?: string | undefined } = {
    lateMs: 0,
    delivered: 0,
  }
  const server = createServer((inbound) => {
    const outbound = createConnection(target)
    wires.add(inbound).add(outbound)
    inbound.on('data', (bytes) => {
      if (state.forgetAt !== undefined && bytes.includes(state.forgetAt)) {
        state.forgetAt = undefined
        lost.add(inbound)
      }
      if (!lost.has(inbound)) outbound.write(bytes)
    })
    outbound.on('data', (bytes) => {
      const deliver = (): void => {
        inbound.write(bytes)
        if (bytes.includes('SELECT 1')) state.delivered += 1
      }
      if (!lost.has(inbound)) setTimeout(deliver, state.lateMs)
    })
    inbound.on('error', () => {}).on('close', () => outbound.destroy())
    outbound.on('error', () => {}).on('close', () => lost.has(inbound) || inbound.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const hangUp = (): void => {
    for (const wire of wires) wire.destroy()
  }
  t.teardown(() => {
    hangUp()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    address: { ...address, host: '127.0.0.1', port },
    state,
    /** As a firewall does that forgets connections it has not seen for long. */
    forget: () => {
      for (const wire of wires) lost.add(wire)
    },
    hangUp,
  }
}

/** A feed over this network, and how often it has forgotten everything. */
const feedOver = async (t: Test, { address }: Awaited<ReturnType<typeof network>>) => {
  const seen = { gaps: 0 }
  const onGap = (): void => {
    seen.gaps += 1
  }
  const feed = await openChangeFeed(address, { onChange: () => {}, onGap }, createLogger('silent'))
  t.teardown(() => feed.close())
  return { feed, seen }
}

t.test('a channel that the network forgot is opened again', async (t) => {
  const way = await network(t)
  const { feed, seen } = await feedOver(t, way)
  way.forget()
  await until(() => !feed.isFresh())
  await until(() => feed.isFresh())
  t.equal(seen.gaps, 2, 'what changed meanwhile was not heard')
})

for (const [when, word] of Object.entries({ 'it listens': 'listen', 'it is open': 'freehold changes' }))
  t.test(`a channel that was forgotten before ${when} is opened again`, async (t) => {
    const way = await network(t)
    way.state.forgetAt = word
    const { seen } = await feedOver(t, way)
    t.equal(way.state.forgetAt, undefined)
    t.equal(seen.gaps, 1)
  })

t.test('closing does not wait for a connection that is hung up on while it is opened', async (t) => {
  const way = await network(t)
  const { feed } = await feedOver(t, way)
  way.state.forgetAt = 'freehold changes'
  way.hangUp()
  await until(() => way.state.forgetAt === undefined)
  const closed = feed.close()
  way.hangUp()
  await t.resolves(closed)
})

t.test('a heartbeat that comes late says nothing of what has changed since it was sent', async (t) => {
  const way = await network(t)
  const { feed, seen } = await feedOver(t, way)
  way.state.lateMs = silenceMs + 50
  await until(() => !feed.isFresh())
  const { delivered } = way.state
  await until(() => feed.isFresh() || way.state.delivered >= delivered + 2)
  t.notOk(feed.isFresh(), 'it hears its heartbeats, but each is too old')
  way.state.lateMs = 0
  await until(() => feed.isFresh())
  t.equal(seen.gaps, 1, 'nothing was lost, so nothing is forgotten')
})

t.test('a pause of this process costs no connection', async (t) => {
  const { feed, seen } = await feedOver(t, await network(t))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * silenceMs)
  t.notOk(feed.isFresh(), 'what has come meanwhile is still to be read')
  await until(() => feed.isFresh())
  t.equal(seen.gaps, 1)
})
