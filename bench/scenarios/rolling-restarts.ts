/**
 * Two nodes are restarted in turn while clients read and write through both. Every request must be answered with success;
 * all that a client does itself is to try the other node, once, when one refuses the connection. Every acknowledged write
 * must be there once. Usage: node bench/scenarios/rolling-restarts.ts [restarts]
 */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { countsGiven } from '../lib/command-line.ts'
import { machineLine, report, table } from '../lib/report.ts'
import { type BenchTenant, openWorld, type World } from '../lib/world.ts'
import { ask, codeOf, quantile } from './ask.ts'
import { freePort, type NodeProcess, startNode } from './node-process.ts'

const { restarts } = countsGiven({ restarts: 100 })
const tenantCount = 20
const clients = 16
/** Between two requests of one client: the nodes are busy, not flooded. Milliseconds. */
const pauseMs = 5
/** One request in so many writes. */
const writeEvery = 4
/** Both nodes are up for so long before the next one stops. Milliseconds. */
const restMs = 100

type Tally = {
  requests: number
  refused: number
  failures: Map<string, number>
  acknowledged: Map<string, string>
  ms: number[]
}

const failed = (tally: Tally, what: string): void =>
  void tally.failures.set(what, (tally.failures.get(what) ?? 0) + 1)

/** Asks one node, and the other one when the first refuses the connection; answers the status, or why there is none. */
const askEither = async (
  tally: Tally,
  urls: readonly string[],
  question: Omit<Parameters<typeof ask>[0], 'url'>,
): Promise<number | string> => {
  for (const [i, url] of urls.entries()) {
    try {
      return (await ask({ ...question, url })).status
    } catch (error) {
      if (codeOf(error) !== 'ECONNREFUSED' || i > 0) return codeOf(error)
      tally.refused += 1
    }
  }
  return 'no node'
}

/** One client with a connection to each node, at work until told otherwise. */
const client = async (
  n: number,
  tally: Tally,
  tenants: readonly BenchTenant[],
  addresses: readonly string[],
  going: () => boolean,
): Promise<void> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let i = 0; going(); i += 1) {
    const tenant = tenants[(n + i) % tenants.length]
    if (tenant === undefined) throw new Error('there are no tenants')
    const order = (n + i) % 2 === 0 ? addresses : addresses.toReversed()
    const writes = i % writeEvery === 0
    const name = `${n}-${i}`
    const urls = order.map((address) => `${address}/api/projects${writes ? '' : '?limit=5'}`)
    const write = writes ? { method: 'POST', body: { name } } : {}
    const begin = performance.now()
    const status = await askEither(tally, urls, { token: tenant.token, agent, ...write })
    tally.ms.push(performance.now() - begin)
    tally.requests += 1
    if (status === 201) tally.acknowledged.set(name, tenant.tenantId)
    else if (status !== 200 || writes) failed(tally, `${writes ? 'POST' : 'GET'} ${status}`)
    await sleep(pauseMs)
  }
  agent.destroy()
}

/** Stops and starts the nodes in turn; answers how long each was away, in milliseconds. */
const restartInTurn = async (world: World, nodes: NodeProcess[]): Promise<number[]> => {
  const away: number[] = []
  for (let i = 0; i < restarts; i += 1) {
    const turn = i % nodes.length
    const begin = performance.now()
    const port = nodes[turn]?.port ?? 0
    await nodes[turn]?.stop()
    nodes[turn] = await startNode(world.grounds, { port })
    away.push(performance.now() - begin)
    await sleep(restMs)
  }
  return away
}

/** Acknowledged writes that are not there exactly once. */
const lostOrDoubled = async (
  tenants: readonly BenchTenant[],
  acknowledged: ReadonlyMap<string, string>,
): Promise<number> => {
  let wrong = 0
  for (const { tenantId, address } of tenants) {
    const db = new pg.Client(clientOptions(address))
    await db.connect()
    const { rows } = await db.query<{ name: string; n: number }>(
      'select name, count(*)::int as n from projects group by name',
    )
    await db.end()
    const stored = new Map(rows.map(({ name, n }) => [name, n]))
    for (const [name, owner] of acknowledged) if (owner === tenantId && stored.get(name) !== 1) wrong += 1
    for (const n of stored.values()) if (n > 1) wrong += 1
  }
  return wrong
}

const world = await openWorld({ tenants: tenantCount, maxConnections: 200 })
try {
  const ports = [await freePort(), await freePort()]
  const nodes = await Promise.all(ports.map((port) => startNode(world.grounds, { port })))
  const tally: Tally = { requests: 0, refused: 0, failures: new Map(), acknowledged: new Map(), ms: [] }
  const addresses = nodes.map(({ address }) => address)
  const state = { going: true }
  const load = Array.from({ length: clients }, (_, n) =>
    client(n, tally, world.tenants, addresses, () => state.going),
  )
  const begin = performance.now()
  const away = await restartInTurn(world, nodes)
  state.going = false
  await Promise.all(load)
  const seconds = (performance.now() - begin) / 1_000
  await Promise.all(nodes.map((node) => node.stop()))
  const wrong = await lostOrDoubled(world.tenants, tally.acknowledged)
  const failures = [...tally.failures.values()].reduce((sum, n) => sum + n, 0)
  const rows = [
    ['restarts', String(restarts)],
    ['requests', String(tally.requests)],
    ['requests a second', (tally.requests / seconds).toFixed(0)],
    ['acknowledged writes', String(tally.acknowledged.size)],
    ['refused connections, tried once more', String(tally.refused)],
    ['failed requests', String(failures)],
    ['writes lost or doubled', String(wrong)],
    ['a restart, median, ms', quantile(away, 0.5).toFixed(0)],
    ['a request, median, ms', quantile(tally.ms, 0.5).toFixed(1)],
    ['a request, p99, ms', quantile(tally.ms, 0.99).toFixed(1)],
    ['a request, longest, ms', quantile(tally.ms, 1).toFixed(0)],
  ]
  await report({
    name: 'rolling-restarts',
    text: `${machineLine(world.postgres.version)}\n\n${table(['rolling restarts', 'seen'], rows)}`,
    promises: [
      { what: 'failed requests', seen: failures, most: 0 },
      { what: 'writes lost or doubled', seen: wrong, most: 0 },
    ],
    failures: [...tally.failures].map(([what, n]) => `${n} × ${what}`),
    write: false,
  })
} finally {
  await world.close()
}
