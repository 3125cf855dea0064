import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { migrateMaster } from '../../src/master/migrate-master.ts'
import { forkApart } from '../helpers/apart.ts'
import type { StormOrder, StormStats } from './storming-node.ts'
import { startWorld, until } from './world.ts'

const leaseMs = 1_500
const whole = 12

const world = await startWorld(t, 30)
await migrateMaster(world.server.master)
const openMaster = async (): Promise<pg.Client> => {
  const client = new pg.Client(clientOptions(world.server.master))
  await client.connect()
  t.teardown(() => client.end())
  return client
}
// One for the test, one for who watches meanwhile.
const [master, watching] = [await openMaster(), await openMaster()]
const clusterId = newId()
await master.query(
  `insert into clusters (id, name, kind, region, host, port, ssl, provisioner, connection_budget)
   values ($1, 'default', 'shared', 'local', 'x', 1, 'disable', '', $2)`,
  [clusterId, whole],
)
const tenants = world.tenants.map((tenant) => ({ ...tenant, clusterId }))

type Node = {
  id: string
  process: ChildProcess
  stats(): Promise<StormStats>
  stop(): Promise<void>
  kill(): Promise<void>
}

const startNode = async (t: Test, order: Partial<StormOrder> = {}): Promise<Node> => {
  const child = forkApart(new URL('storming-node.ts', import.meta.url))
  const exited = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const id = newId()
  const whole = { id, master: world.server.master, leaseMs, tenants, requests: 20, ...order }
  child.send(whole satisfies StormOrder)
  await once(child, 'message')
  return {
    id,
    process: child,
    stats: async () => {
      child.send('stats')
      const [stats] = await once(child, 'message')
      return stats
    },
    stop: async () => {
      child.send('stop')
      const [code] = await exited
      t.equal(code, 0, 'the node stopped cleanly')
    },
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

const grantedTo = async (node: Node): Promise<number> => {
  const { rows } = await master.query('select granted from node_shares where node_id = $1', [node.id])
  return rows[0]?.granted ?? 0
}

/** All nodes that are there have their fair share. */
const fairly = (...nodes: Node[]): Promise<void> =>
  until(async () => {
    for (const node of nodes) {
      if ((await grantedTo(node)) !== Math.floor(whole / nodes.length)) return false
    }
    return true
  })

/** Looks at the server every few milliseconds until `work` is done: the most sessions of tenants, and the most granted. */
const watch = async (work: Promise<void>): Promise<{ sessions: number; granted: number }> => {
  const most = { sessions: 0, granted: 0 }
  const state = { done: false }
  const finished = work.finally(() => {
    state.done = true
  })
  finished.catch(() => {})
  while (!state.done) {
    const [sessions] = await world.admin<{ n: string }>(
      `select count(*) as n from pg_stat_activity where usename like 't\\_%'`,
    )
    const { rows } = await watching.query('select coalesce(sum(granted), 0)::int as n from node_shares')
    most.sessions = Math.max(most.sessions, Number(sessions?.n))
    most.granted = Math.max(most.granted, rows[0].n)
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
  await finished
  return most
}

const keepsToWhole = (t: Test, most: { sessions: number; granted: number }): void => {
  t.ok(most.sessions <= whole, `${most.sessions} sessions at most`)
  t.ok(most.sessions > whole / 2, 'the budget was used')
  t.ok(most.granted <= whole, `${most.granted} granted at most`)
}

world.test(
  'nodes that come, go and are killed under load never have more than the whole together',
  async (t) => {
    const life = async (): Promise<void> => {
      const a = await startNode(t)
      await fairly(a)
      const b = await startNode(t)
      await fairly(a, b)
      const c = await startNode(t, { sleep: 30 })
      await fairly(a, b, c)
      await b.stop()
      await fairly(a, c)
      await c.kill()
      await fairly(a)
      const d = await startNode(t)
      await a.kill()
      await fairly(d)
      t.ok((await d.stats()).served > 0)
      await d.stop()
    }
    keepsToWhole(t, await watch(life()))
    const { rows } = await master.query('select from nodes')
    t.equal(rows.length, 0, 'the last one has left the register')
  },
)

/** A way to the master that can be cut so that both ends hear nothing any more. */
const openWay = async (t: Test): Promise<{ address: PostgresAddress; cut(): void; mend(): void }> => {
  const { host, port } = world.server.master
  const folder = await mkdtemp(join(tmpdir(), 'freehold-way-'))
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer((near) => {
    const far = createConnection(join(host, `.s.PGSQL.${port}`))
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
      from.on('data', (data) => {
        if (whole) to.write(data)
      })
    }
  })
  server.listen(join(folder, `.s.PGSQL.${port}`))
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    address: { ...world.server.master, host: folder },
    cut: () => {
      whole = false
    },
    mend: () => {
      whole = true
    },
  }
}

world.test(
  'a node cut off from the master stops opening and is empty before others have its share',
  async (t) => {
    const way = await openWay(t)
    const life = async (): Promise<void> => {
      const near = await startNode(t)
      const far = await startNode(t, { master: way.address })
      await fairly(near, far)
      way.cut()
      await fairly(near)
      const { used, opens } = await far.stats()
      t.equal(used, 0, 'it has no connection any more')
      await until(async () => (await near.stats()).used > whole / 2)
      t.equal((await far.stats()).opens, opens, 'and opens none')
      way.mend()
      await fairly(near, far)
      await until(async () => (await far.stats()).opens > opens)
      await Promise.all([near.stop(), far.stop()])
    }
    keepsToWhole(t, await watch(life()))
  },
)

world.test('a node that is stopped in its tracks opens nothing when it goes on', async (t) => {
  const life = async (): Promise<void> => {
    const near = await startNode(t)
    const asleep = await startNode(t)
    await fairly(near, asleep)
    await near.stop()
    asleep.process.kill('SIGSTOP')
    await until(
      async () =>
        (await master.query('select from nodes where expires_at > clock_timestamp()')).rowCount === 0,
    )
    asleep.process.kill('SIGCONT')
    await fairly(asleep)
    const { served } = await asleep.stats()
    await until(async () => (await asleep.stats()).served > served)
    await asleep.stop()
  }
  keepsToWhole(t, await watch(life()))
})
