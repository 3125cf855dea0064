/**
 * How near to what can be had at all is the router when six times more tenants are active than fit? A request that finds its
 * connection costs c0, one that must connect costs c1 more, and the best that never looks ahead keeps the most popular for
 * ever: at most 1 / (c0 + miss × c1) requests a second. All are taken in the same round as what is compared with them.
 * Usage: node bench/zipf.ts [--quick] [--profile folder] [--write]
 */
import { parseArgs } from 'node:util'
import { bestConcurrency, connectsPerSecond } from './lib/bare.ts'
import { type Column, connections, type Pace, quickPace, usualPace, withServers } from './lib/cell.ts'
import { failuresOf, median, type Run, runOnce } from './lib/pair.ts'
import { profileSummary } from './lib/profile.ts'
import { shares } from './lib/random.ts'
import { machineLine, report, table } from './lib/report.ts'
import type { ServerProcess } from './lib/server-process.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

const active = 500
const places = 80
const leastOfBound = 0.9
const column: Column = { name: 'Zipf', tenants: active, spread: 'zipf', connections: places }
/** Until the router has seen who is popular. */
const settling = 3

/** Of all requests, those for tenants that have no place when the most popular have one for ever. */
const missRate = shares('zipf', active)
  .slice(places)
  .reduce((sum, share) => sum + share, 0)

/** Seconds, and requests a second. */
type Round = Readonly<{
  hit: number
  connect: number
  bound: number
  own: Run
  plain: Run
  runs: readonly Run[]
}>

const measureRound = async (
  world: World,
  [freehold, pools]: readonly [ServerProcess, ServerProcess],
  concurrency: number,
  pace: Pace,
): Promise<Round> => {
  const base = { spread: 'zipf', connections, seconds: pace.seconds, warmUp: settling } as const
  const popular = { ...base, tenants: world.tenants.slice(0, places) }
  const all = { ...base, tenants: world.tenants }
  const hits = await runOnce(freehold, popular)
  const rate = await connectsPerSecond(world.tenants.slice(places), { concurrency, seconds: pace.seconds })
  const own = await runOnce(freehold, all)
  const plain = await runOnce(pools, all)
  const hit = 1 / hits.perSecond
  // Bare, a connect comes with a query, which a hit has as well.
  const connect = 1 / rate - hit
  return { hit, connect, bound: 1 / (hit + missRate * connect), own, plain, runs: [hits, own, plain] }
}

type RouterCounts = { opens: number; waits: { sumMs: number } }

/** Connects for each answer, as the router counted them. */
const missesOf = ({ before, after, perSecond }: Run, seconds: number): number =>
  ((after.counters as RouterCounts).opens - (before.counters as RouterCounts).opens) / (perSecond * seconds)

const numbers = (name: string, runs: readonly Run[], bounds: readonly number[], misses: string): string[] => {
  const ratios = runs.map(({ perSecond }, i) => perSecond / (bounds[i] ?? Number.NaN))
  return [
    name,
    Math.round(median(runs.map(({ perSecond }) => perSecond))).toString(),
    median(ratios).toFixed(2),
    `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
    misses,
    median(runs.map(({ p50 }) => p50)).toFixed(0),
    median(runs.map(({ p99 }) => p99)).toFixed(0),
  ]
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})

const measure = async (world: World): Promise<void> => {
  const pace = flags.quick ? quickPace : { ...usualPace, rounds: 9, seconds: 4 }
  const { done, concurrency } = await inTurn(() =>
    withServers(world, column, ['freehold', 'pools'], flags, async ([freehold, pools]) => {
      if (freehold === undefined || pools === undefined) throw new Error('a server is missing')
      const concurrency = await bestConcurrency(world.tenants.slice(places), flags.quick ? 0.5 : 1)
      const done: Round[] = []
      for (let n = 0; n < pace.rounds; n += 1) {
        done.push(await measureRound(world, [freehold, pools], concurrency, pace))
      }
      return { done, concurrency }
    }),
  )
  const bounds = done.map(({ bound }) => bound)
  const own = done.map((round) => round.own)
  const seen = median(own.map(({ perSecond }, i) => perSecond / (bounds[i] ?? Number.NaN)))
  const [hit, connect] = [done.map((round) => round.hit), done.map((round) => round.connect)].map(median)
  const misses = median(own.map((run) => missesOf(run, pace.seconds))).toFixed(2)
  const rows = [
    ['the bound', Math.round(median(bounds)).toString(), '1.00', '', missRate.toFixed(2), '', ''],
    numbers('**Freehold, the whole path**', own, bounds, misses),
    numbers(
      'an LRU of pg.Pools, named statement',
      done.map(({ plain }) => plain),
      bounds,
      '',
    ),
  ]
  const how =
    `${machineLine(world.postgres.version)}; ${active} tenants by Zipf(1) over ${places} connections, ` +
    `${connections} requests at a time, medians of ${pace.rounds} rounds of ${pace.seconds} s; ` +
    `c0 ${((hit ?? 0) * 1e6).toFixed(0)} µs, c1 ${((connect ?? 0) * 1e3).toFixed(2)} ms (${concurrency} connects at a time, the best)`
  const head = ['', 'requests/s', 'of the bound', 'range', 'connects/request', 'p50 ms', 'p99 ms']
  await report({
    name: 'zipf',
    text: [how, table(head, rows)].join('\n\n'),
    promises: [{ what: 'requests a second, of the bound', seen, least: leastOfBound }],
    failures: failuresOf(done.flatMap(({ runs }) => runs)),
    write: flags.write,
  })
}

const world = await inTurn(() => openWorld({ tenants: active, maxConnections: 300 }))
try {
  await measure(world)
} finally {
  await world.close()
}
if (flags.profile !== undefined) console.log(`\n${await profileSummary(flags.profile)}`)
