import t, { type Test } from 'tap'
import { type Freehold, type Member, startNode } from '../helpers/freehold.ts'
import { startRestartable } from '../helpers/restartable-postgres.ts'
import { until } from './world.ts'

const server = await startRestartable(t)
const freehold = await startNode(t, server)
const address = await freehold.app.listen({ host: '127.0.0.1', port: 0 })
const tenants = [await freehold.newTenant(), await freehold.newTenant(), await freehold.newTenant()]

type Load = {
  /** How often each status came, apart for reads and writes. */
  reads: Map<number, number>
  writes: Map<number, number>
  /** Names of the writes that were acknowledged, with their tenant. */
  acknowledged: Map<string, Member>
  /** Refusals that do not say when to come back. */
  bare: number
  stop(): Promise<void>
}

const count = (statuses: Map<number, number>, status: number): void =>
  void statuses.set(status, (statuses.get(status) ?? 0) + 1)

let rounds = 0

/** Clients that read and write by turns, over HTTP, until they are stopped. */
const startLoad = (clients: number): Load => {
  const state = { going: true }
  const [reads, writes] = [new Map<number, number>(), new Map<number, number>()]
  const load: Load = {
    ...{ reads, writes, acknowledged: new Map(), bare: 0 },
    stop: async () => {
      state.going = false
      await running
    },
  }
  rounds += 1
  const round = rounds
  const client = async (n: number): Promise<void> => {
    const tenant = tenants[n % tenants.length]
    if (tenant === undefined) throw new Error('no tenant')
    const headers = { authorization: `Bearer ${tenant.token}`, 'content-type': 'application/json' }
    for (let i = 0; state.going; i += 1) {
      const isWrite = i % 2 === 1
      const name = `${round}-${n}-${i}`
      const write = isWrite ? { method: 'POST', body: JSON.stringify({ name }) } : {}
      const answer = await fetch(`${address}/api/projects`, { headers, ...write })
      await answer.text()
      count(isWrite ? writes : reads, answer.status)
      if (answer.status === 201) load.acknowledged.set(name, tenant)
      if (answer.status === 503 && answer.headers.get('retry-after') === null) load.bare += 1
      if (!answer.ok) await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const running = Promise.all(Array.from({ length: clients }, (_, n) => client(n)))
  return load
}

const allProjects = async (tenant: Member): Promise<string[]> => {
  const rows = await freehold.asSuperuser(tenant.tenantId, 'select name from projects')
  return rows.map(({ name }) => String(name))
}

/** Every acknowledged write is there, and nothing is there twice. */
const nothingLostOrDoubled = async (t: Test, { acknowledged }: Load): Promise<void> => {
  for (const tenant of tenants) {
    const stored = await allProjects(tenant)
    const names = new Set(stored)
    t.equal(stored.length, names.size, 'no write is doubled')
    const lost = [...acknowledged].filter(([name, owner]) => owner === tenant && !names.has(name))
    t.same(lost, [], 'no acknowledged write is lost')
  }
}

const only = (t: Test, statuses: Map<number, number>, ...allowed: number[]): void => {
  const others = [...statuses.keys()].filter((status) => !allowed.includes(status))
  t.same(others, [])
}

/** Many more requests have succeeded than when it was called. */
const goesOn = async ({ reads, writes }: Load): Promise<void> => {
  const [read, written] = [reads.get(200) ?? 0, writes.get(201) ?? 0]
  await until(() => (reads.get(200) ?? 0) > read + 50 && (writes.get(201) ?? 0) > written + 50)
}

/** Refusals of any kind so far. */
const refused = ({ reads, writes }: Load): number => (reads.get(503) ?? 0) + (writes.get(503) ?? 0)

/** Answers of any kind so far. */
const answered = ({ reads, writes }: Load): number =>
  [...reads.values(), ...writes.values()].reduce((sum, n) => sum + n, 0)

/** The server kills all sessions and recovers, as it does after any crash of one of them. */
const crashServer = async ({ asSuperuser }: Freehold, tenant: Member): Promise<void> => {
  const [row] = await asSuperuser(
    tenant.tenantId,
    `select pid from pg_stat_activity where usename like 't\\_%' limit 1`,
  )
  process.kill(Number(row?.pid), 'SIGKILL')
}

t.test(
  'Postgres crashes three times under load: 503 with Retry-After, nothing lost or doubled',
  async (t) => {
    const [tenant] = tenants
    if (tenant === undefined) throw new Error('no tenant')
    // The server of the tests acknowledges before it has written; that would be its loss, not ours.
    await freehold.asSuperuser(tenant.tenantId, 'alter system set synchronous_commit = on')
    await freehold.asSuperuser(tenant.tenantId, 'select pg_reload_conf()')
    const load = startLoad(12)
    for (let i = 0; i < 3; i += 1) {
      await goesOn(load)
      await crashServer(freehold, tenant)
    }
    await goesOn(load)
    await load.stop()
    only(t, load.reads, 200, 503)
    only(t, load.writes, 201, 503)
    t.ok(refused(load) > 0, 'the crashes were noticed')
    t.equal(load.bare, 0, 'every refusal says when to come back')
    await nothingLostOrDoubled(t, load)
  },
)

t.test(
  'Postgres is stopped and started twice under load: 503 with Retry-After, nothing lost or doubled',
  async (t) => {
    const load = startLoad(12)
    t.teardown(load.stop)
    for (let i = 0; i < 2; i += 1) {
      await goesOn(load)
      await server.stop()
      // The master is away too: soon nothing that the node remembers of sessions may be believed.
      await until(() => !freehold.service.changes.isFresh())
      const before = answered(load)
      await until(() => answered(load) > before + 50)
      await server.start()
    }
    await goesOn(load)
    await load.stop()
    only(t, load.reads, 200, 503)
    only(t, load.writes, 201, 503)
    t.ok(refused(load) > 0, 'the stops were noticed')
    t.equal(load.bare, 0, 'every refusal says when to come back')
    await nothingLostOrDoubled(t, load)
  },
)

t.test('sessions that are ended under load: no read fails, and writes are refused, not lost', async (t) => {
  const [tenant] = tenants
  if (tenant === undefined) throw new Error('no tenant')
  const { retries } = freehold.service.router.stats()
  const load = startLoad(12)
  await until(async () => {
    await goesOn(load)
    await freehold.asSuperuser(
      tenant.tenantId,
      // Not those that are just connecting: a connect that fails is no read to be tried again.
      `select pg_terminate_backend(pid) from pg_stat_activity
       where usename like 't\\_%' and query like '%"projects"%'`,
    )
    return freehold.service.router.stats().retries > retries
  })
  await goesOn(load)
  await load.stop()
  only(t, load.reads, 200)
  only(t, load.writes, 201, 503)
  t.equal(load.bare, 0)
  await nothingLostOrDoubled(t, load)
})
