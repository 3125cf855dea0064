/**
 * How fast is a list behind a bearer token, against what one would build it with otherwise? Each run of a peer is followed by
 * one of Freehold; fails when Freehold is below what it promises, or when any answer was not as expected.
 * Usage: node bench/peers.ts [--quick] [--rows a,b] [--write]
 */
import { parseArgs } from 'node:util'
import { connections, quickPace, settling, usualPace } from './lib/cell.ts'
import { addProjects, expectRefusals, listShots, type PreparedPeers, pageSize } from './lib/listing.ts'
import { median, type Paired, pairRuns, type Run, runShots } from './lib/pair.ts'
import { installPeers, peerFile, peerVersions, preparePeers } from './lib/peer-setup.ts'
import { machineLine, type Promised, report, table } from './lib/report.ts'
import { type RunningServer, startProcess, startServer } from './lib/server-process.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

type Peer = Readonly<{ name: string; of: keyof PreparedPeers; title: string; least?: number }>

const peers: readonly Peer[] = [
  { name: 'better-auth', of: 'betterAuth', title: 'better-auth, members of an organization', least: 15 },
  { name: 'prisma', of: 'express', title: 'Express + Prisma', least: 5 },
  { name: 'knex', of: 'express', title: 'Express + knex, a client per tenant' },
  { name: 'pg', of: 'express', title: 'Express + pg, named statements', least: 1.5 },
]
const tenantCounts = [1, 10] as const
/** For all tenants, as in the other tables: all fit. */
const tenantConnections = 80
const path = `/api/projects?limit=${pageSize}`

type Cell = Readonly<{ peer: Peer; tenants: number; paired: Paired }>
type Pace = typeof usualPace

/** Both servers at once, one of them working at a time. */
const pairServers = async (
  [peer, freehold]: readonly [RunningServer, RunningServer],
  world: World,
  asks: PreparedPeers[Peer['of']],
  options: { tenants: number; pace: Pace },
): Promise<Paired> => {
  const { rounds, seconds, warmUp } = options.pace
  const own = world.tenants.slice(0, options.tenants).map(({ token }) => ({ path, token }))
  await expectRefusals(peer.port, asks.refused)
  const shots = {
    peer: await listShots(peer.port, asks.asked.slice(0, options.tenants)),
    freehold: await listShots(freehold.port, own),
  }
  const load = { spread: 'even', connections, warmUp: settling, seconds } as const
  const runPeer = (change = {}): Promise<Run> =>
    runShots({ ...peer, name: 'the peer' }, shots.peer, { ...load, ...change })
  const runFreehold = (change = {}): Promise<Run> =>
    runShots({ ...freehold, name: 'freehold' }, shots.freehold, { ...load, ...change })
  for (const run of [runPeer, runFreehold]) await run({ warmUp, seconds: settling })
  return pairRuns(runPeer, runFreehold, rounds)
}

const measureCell = async (
  world: World,
  prepared: PreparedPeers,
  peer: Peer,
  options: { tenants: number; pace: Pace },
): Promise<Paired> => {
  const tenants = world.tenants.slice(0, options.tenants)
  const setup = { grounds: world.grounds, tenants, connections: tenantConnections }
  const server = await startProcess(peerFile(`servers/${peer.name}.ts`), setup)
  try {
    const freehold = await startServer('freehold', setup)
    try {
      return await pairServers([server, freehold], world, prepared[peer.of], options)
    } finally {
      await freehold.stop()
    }
  } finally {
    await server.stop()
  }
}

const middle = (runs: readonly Run[], of: 'perSecond' | 'cpuMicros' | 'p50' | 'p99'): number =>
  median(runs.map((run) => run[of]))

const cellTable = (cells: readonly Cell[]): string => {
  const rows = cells.map(({ peer, tenants, paired: { own, ceiling: theirs, ratios, ratio } }) => [
    peer.title,
    String(tenants),
    `**${ratio.toFixed(1)}**`,
    `${Math.min(...ratios).toFixed(1)}–${Math.max(...ratios).toFixed(1)}`,
    ...[theirs, own].flatMap((runs) => [
      middle(runs, 'perSecond').toFixed(0),
      middle(runs, 'cpuMicros').toFixed(0),
      middle(runs, 'p50').toFixed(1),
      middle(runs, 'p99').toFixed(1),
    ]),
  ])
  const each = (whose: string): string[] => [`${whose}/s`, 'CPU µs', 'p50 ms', 'p99 ms']
  return table(['peer', 'tenants', 'Freehold ÷ peer', 'ratios', ...each('peer '), ...each('Freehold ')], rows)
}

const promisesOf = (cells: readonly Cell[]): Promised[] =>
  cells.flatMap(({ peer: { name, least }, tenants, paired }) => {
    const what = `Freehold to ${name}, ${tenants} ${tenants === 1 ? 'tenant' : 'tenants'}`
    return least === undefined ? [] : [{ what, seen: paired.ratio, least }]
  })

const measure = async (world: World, prepared: PreparedPeers, rows: readonly Peer[]): Promise<void> => {
  const pace = flags.quick ? quickPace : usualPace
  const cells: Cell[] = []
  const failures: string[] = []
  for (const peer of rows) {
    // One turn for the whole row: it takes less than two minutes.
    await inTurn(async () => {
      for (const tenants of tenantCounts) {
        try {
          const paired = await measureCell(world, prepared, peer, { tenants, pace })
          cells.push({ peer, tenants, paired })
          console.log(`${peer.name}, ${tenants}: ${paired.ratio.toFixed(2)}`)
        } catch (error) {
          failures.push(`${peer.name}, ${tenants}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
    })
  }
  const versions = await peerVersions([
    'better-auth',
    '@prisma/client',
    'knex',
    'pg',
    'express',
    'jsonwebtoken',
  ])
  const how = `${machineLine(world.postgres.version)}; ${versions}; ${connections} requests at a time, medians of ${pace.rounds} pairs of ${pace.seconds} s`
  const text = [how, cellTable(cells)].join('\n\n')
  await report({ name: 'peers', text, promises: promisesOf(cells), failures, write: flags.write })
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    rows: { type: 'string' },
  },
})
const wanted = flags.rows?.split(',')
const rows = peers.filter(({ name }) => wanted?.includes(name) ?? true)
if (rows.length < (wanted?.length ?? 0))
  throw new Error(`there are: ${peers.map(({ name }) => name).join(', ')}`)

// Of every server that is started from here.
process.env.NODE_ENV = 'production'
await installPeers()
const most = Math.max(...tenantCounts)
const world = await inTurn(() => openWorld({ tenants: most, maxConnections: 400 }))
try {
  await addProjects(world.tenants)
  const setup = { grounds: world.grounds, tenants: world.tenants, connections: tenantConnections }
  await measure(world, await preparePeers(setup), rows)
} finally {
  await world.close()
}
