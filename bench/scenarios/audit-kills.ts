/**
 * Changes are made through two nodes that are killed with SIGKILL in turn, while their workers seal. Every acknowledged change must
 * have exactly one entry in its tenant's audit log, every change that is there too, every log must be sealed to its end, and
 * verify. Usage: node bench/scenarios/audit-kills.ts [changes] [--write]
 */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { verifyChain } from '../../src/kernel/audit-chain.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { countsGiven } from '../lib/command-line.ts'
import { machineLine, report, table } from '../lib/report.ts'
import { type BenchTenant, openWorld, type World } from '../lib/world.ts'
import { ask, codeOf } from './ask.ts'
import { freePort, type NodeProcess, startNode } from './node-process.ts'

const { changes, write } = countsGiven({ changes: 100_000 }, { write: true })
const tenantCount = 20
const clients = 24
/** Both nodes are up for so long before one is killed. Milliseconds. */
const restMs = 4_000

type Tally = {
  sent: number
  unanswered: number
  acknowledged: Map<string, string>
  failures: Map<string, number>
}

/** One client, at work until enough was acknowledged; a change without an answer is not made again. */
const client = async (
  tally: Tally,
  tenants: readonly BenchTenant[],
  addresses: readonly string[],
): Promise<void> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (tally.acknowledged.size < changes) {
    tally.sent += 1
    const tenant = tenants[tally.sent % tenants.length]
    if (tenant === undefined) throw new Error('there are no tenants')
    const name = `change-${tally.sent}`
    const url = `${addresses[tally.sent % addresses.length]}/api/projects`
    try {
      const { status } = await ask({ url, token: tenant.token, agent, method: 'POST', body: { name } })
      if (status === 201) tally.acknowledged.set(name, tenant.tenantId)
      else tally.failures.set(String(status), (tally.failures.get(String(status)) ?? 0) + 1)
    } catch (error) {
      tally.unanswered += 1
      if (codeOf(error) === 'ECONNREFUSED') await sleep(20)
    }
  }
  agent.destroy()
}

const kill = (node: NodeProcess | undefined): Promise<void> =>
  node === undefined ? Promise.resolve() : node.stop('SIGKILL').catch(() => {})

const killInTurn = async (world: World, nodes: NodeProcess[], going: () => boolean): Promise<number> => {
  let kills = 0
  while (going()) {
    await sleep(restMs)
    if (!going()) break
    const turn = kills % nodes.length
    const port = nodes[turn]?.port ?? 0
    await kill(nodes[turn])
    kills += 1
    nodes[turn] = await startNode(world.grounds, { port, env: { ROLE: 'all' } })
  }
  return kills
}

const connect = async (address: PostgresAddress): Promise<pg.Client> => {
  const client = new pg.Client(clientOptions(address))
  await client.connect()
  return client
}

type Found = { entries: number; wrong: number; unsealed: number; broken: number }

/** Compares a tenant's log with what was acknowledged and with what is there, once all of it is sealed. */
const examine = async (world: World, tenant: BenchTenant, tally: Tally): Promise<Found> => {
  const master = await connect(world.grounds.master)
  const db = await connect(tenant.address)
  const ask = async (text: string, values: readonly unknown[]) => (await db.query(text, [...values])).rows
  const checkpointOf = async () => {
    const { rows } = await master.query('select position, hash from audit_checkpoints where tenant_id = $1', [
      tenant.tenantId,
    ])
    return rows[0] && { position: Number(rows[0].position), hash: String(rows[0].hash) }
  }
  const start = { position: 0, hash: null }
  let seen = await verifyChain(ask, async () => ({ start, checkpoint: await checkpointOf() }))
  // The counters that tell the sealer may be ten seconds late.
  for (let i = 0; seen.unsealed > 0 && i < 40; i += 1) {
    await sleep(500)
    seen = await verifyChain(ask, async () => ({ start, checkpoint: await checkpointOf() }))
  }
  const { rows } = await db.query<{ name: string; n: number }>(
    `select p.name, count(a.id)::int as n from projects p
       left join audit_log a on a.entity_id = p.id and a.action = 'project.created'
      where p.name like 'change-%' group by p.id, p.name`,
  )
  const [orphans] = (
    await db.query(
      "select count(*)::int as n from audit_log a where action = 'project.created' and not exists (select from projects p where p.id = a.entity_id)",
    )
  ).rows
  await Promise.all([master.end(), db.end()])
  const entriesOf = new Map(rows.map(({ name, n }) => [name, n]))
  const mine = [...tally.acknowledged].filter(([, owner]) => owner === tenant.tenantId)
  const missing = mine.filter(([name]) => entriesOf.get(name) !== 1).length
  const doubled = rows.filter(({ n }) => n !== 1).length
  return {
    entries: seen.verified,
    wrong: missing + doubled + Number(orphans.n),
    unsealed: seen.unsealed,
    broken: seen.problems.length,
  }
}

const world = await openWorld({ tenants: tenantCount, maxConnections: 300 })
try {
  const ports = [await freePort(), await freePort()]
  const env = { ROLE: 'all' }
  const nodes = await Promise.all(ports.map((port) => startNode(world.grounds, { port, env })))
  const tally: Tally = { sent: 0, unanswered: 0, acknowledged: new Map(), failures: new Map() }
  const addresses = nodes.map(({ address }) => address)
  const begin = performance.now()
  const going = (): boolean => tally.acknowledged.size < changes
  const killing = killInTurn(world, nodes, going)
  await Promise.all(Array.from({ length: clients }, () => client(tally, world.tenants, addresses)))
  const seconds = (performance.now() - begin) / 1_000
  const kills = await killing
  const found: Found[] = []
  for (const tenant of world.tenants) found.push(await examine(world, tenant, tally))
  await Promise.all(nodes.map(kill))
  const sum = (key: keyof Found): number => found.reduce((total, one) => total + one[key], 0)
  const failures = [...tally.failures]
  await report({
    name: 'audit-kills',
    text: `${machineLine(world.postgres.version)}\n\n${table(
      ['audited changes on two nodes with kills', 'seen'],
      [
        ['acknowledged changes', String(tally.acknowledged.size)],
        ['changes a second', (tally.acknowledged.size / seconds).toFixed(0)],
        ['nodes killed with SIGKILL', String(kills)],
        ['requests without an answer', String(tally.unanswered)],
        ['requests refused', String(failures.reduce((total, [, n]) => total + n, 0))],
        ['entries sealed and verified', String(sum('entries'))],
        ['changes without exactly one entry', String(sum('wrong'))],
        ['entries left unsealed', String(sum('unsealed'))],
        ['problems in the chains', String(sum('broken'))],
      ],
    )}`,
    promises: [
      { what: 'acknowledged changes', seen: tally.acknowledged.size, least: changes },
      { what: 'changes without exactly one entry', seen: sum('wrong'), most: 0 },
      { what: 'entries left unsealed', seen: sum('unsealed'), most: 0 },
      { what: 'problems in the chains', seen: sum('broken'), most: 0 },
    ],
    failures: [],
    write,
  })
} finally {
  await world.close()
}
