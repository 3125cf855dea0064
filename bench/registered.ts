/**
 * What do tenants cost that are registered and never used? Two installations side by side, one with 10 tenants and one with
 * 10,000, serve the same 10; then how much memory of the node they take, and how much a tenant takes that is open.
 * Usage: node bench/registered.ts [--quick] [--write]
 */
import { parseArgs } from 'node:util'
import {
  type Column,
  connections,
  type Pace,
  quickPace,
  settling,
  usualPace,
  withServers,
} from './lib/cell.ts'
import { failuresOf, median, type Run, runOnce } from './lib/pair.ts'
import { registerUnused } from './lib/register-unused.ts'
import { machineLine, report, table } from './lib/report.ts'
import type { ServerProcess } from './lib/server-process.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

const working = 10
const opened = 250
const registered = 10_000
const leastRatio = 0.97
const mostPerRegistered = 1_000
const mostPerOpen = 50_000
/** Servers are started so often anew: one process can be a few percent faster than the next for as long as it lives. */
const generations = 3

type Installation = Readonly<{ world: World; server: ServerProcess; runs: Run[] }>

const run = async (
  { world, server, runs }: Installation,
  tenants: number,
  warmUp: number,
  pace: Pace,
): Promise<void> => {
  const served = world.tenants.slice(0, tenants)
  runs.push(
    await runOnce(server, { tenants: served, spread: 'even', connections, warmUp, seconds: pace.seconds }),
  )
}

/** Bytes: of a tenant that is only registered, and of one that has been asked for. */
type Memory = Readonly<{ perRegistered: number; perOpen: number; rssPerOpen: number }>

const measureMemory = async (few: Installation, many: Installation, pace: Pace): Promise<Memory> => {
  const base = await few.server.memory()
  const before = await many.server.memory()
  await run(many, opened, pace.warmUp, pace)
  const after = await many.server.memory()
  return {
    perRegistered: (before.heap - base.heap) / (registered - working),
    perOpen: (after.heap - before.heap) / (opened - working),
    rssPerOpen: (after.rss - before.rss) / (opened - working),
  }
}

type Generation = Memory & Readonly<{ few: readonly Run[]; many: readonly Run[]; all: readonly Run[] }>

const measureGeneration = async (few: Installation, many: Installation, pace: Pace): Promise<Generation> => {
  for (const one of [few, many]) await run(one, working, pace.warmUp, pace)
  for (let n = 0; n < pace.rounds; n += 1) {
    for (const one of n % 2 === 0 ? [few, many] : [many, few]) await run(one, working, settling, pace)
  }
  const [fewRuns, manyRuns] = [few.runs.slice(1), many.runs.slice(1)]
  const memory = await measureMemory(few, many, pace)
  return { ...memory, few: fewRuns, many: manyRuns, all: [...few.runs, ...many.runs] }
}

const withBoth = (fewWorld: World, manyWorld: World, pace: Pace): Promise<Generation> => {
  const column = (tenants: number): Column => ({
    name: 'registered',
    tenants,
    spread: 'even',
    connections: opened + 20,
  })
  const serving = <T>(world: World, work: (one: Installation) => Promise<T>): Promise<T> =>
    withServers(world, column(world.tenants.length), ['freehold'], {}, async ([server]) => {
      if (server === undefined) throw new Error('the server is missing')
      return work({ world, server, runs: [] })
    })
  return inTurn(() =>
    serving(fewWorld, (few) => serving(manyWorld, (many) => measureGeneration(few, many, pace))),
  )
}

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
})

const measure = async (fewWorld: World, manyWorld: World): Promise<void> => {
  const pace = flags.quick ? quickPace : usualPace
  const all: Generation[] = []
  for (let n = 0; n < generations; n += 1) all.push(await withBoth(fewWorld, manyWorld, pace))
  const ratios = all.flatMap(({ few, many }) =>
    many.map(({ perSecond }, i) => perSecond / (few[i]?.perSecond ?? Number.NaN)),
  )
  const row = (name: string, runs: readonly Run[]): string[] => [
    name,
    ...[
      median(runs.map(({ perSecond }) => perSecond)).toFixed(0),
      median(runs.map(({ cpuMicros }) => cpuMicros)).toFixed(1),
      median(runs.map(({ p99 }) => p99)).toFixed(1),
    ],
  ]
  const rows = [
    row(
      `${working} registered`,
      all.flatMap(({ few }) => few),
    ),
    row(
      `${registered} registered`,
      all.flatMap(({ many }) => many),
    ),
  ]
  const [perRegistered, perOpen, rssPerOpen] = (['perRegistered', 'perOpen', 'rssPerOpen'] as const).map(
    (what) => median(all.map((one) => one[what])),
  )
  const how =
    `${machineLine(manyWorld.postgres.version)}; ${working} tenants asked for in both, medians of ${ratios.length} pairs of ` +
    `${pace.seconds} s, ${generations} times with new processes`
  const memory =
    `Memory of the node, after collecting garbage: ${perRegistered?.toFixed(0)} bytes for each registered tenant, ` +
    `${((perOpen ?? 0) / 1000).toFixed(1)} kB for each open one (resident: ${((rssPerOpen ?? 0) / 1000).toFixed(1)} kB).`
  await report({
    name: 'registered',
    text: [how, table(['', 'requests/s', 'CPU µs', 'p99 ms'], rows), memory].join('\n\n'),
    promises: [
      { what: `${registered} registered, to ${working}`, seen: median(ratios), least: leastRatio },
      { what: 'bytes for a registered tenant', seen: perRegistered ?? Number.NaN, most: mostPerRegistered },
      { what: 'bytes for an open tenant', seen: perOpen ?? Number.NaN, most: mostPerOpen },
    ],
    failures: failuresOf(all.flatMap((one) => one.all)),
    write: flags.write,
  })
}

const fewWorld = await inTurn(() => openWorld({ tenants: working, maxConnections: 100 }))
try {
  const manyWorld = await inTurn(async () => {
    const world = await openWorld({ tenants: opened, maxConnections: opened + 100 })
    await registerUnused(world, registered - opened)
    return world
  })
  try {
    await measure(fewWorld, manyWorld)
  } finally {
    await manyWorld.close()
  }
} finally {
  await fewWorld.close()
}
