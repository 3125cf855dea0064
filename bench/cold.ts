/**
 * What does the first request of a tenant cost that nobody has used on this node, when the node itself is warm? Token,
 * session, membership, placement and connection are all new. One tenant after another, in turn with a bare connect and the
 * same query on tenants of its own; a rest before each, so that neither meets what the other left to be done. Then some that
 * come when no other has come for longer than a socket is kept ready, of which `--quick` has too few to say more than how they
 * went. Fails when a median is more than 1.25 times the bare one's.
 * Usage: node bench/cold.ts [--quick] [--profile folder] [--write]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { bareConnect } from './lib/bare.ts'
import { openLine } from './lib/cannon.ts'
import { type Column, withServers } from './lib/cell.ts'
import { median, quantile, shotsFor } from './lib/pair.ts'
import { profileSummary } from './lib/profile.ts'
import { machineLine, report, table } from './lib/report.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

const mostRatio = 1.25
const restMs = 50
/** Longer than the router keeps a socket ready. */
const longRestMs = 5_200

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})

/** Cold tenants of each kind, those before them that only warm the code, and those that come after a long rest. */
const [measured, warming, lonely] = flags.quick ? [60, 60, 6] : [200, 100, 20]
const total = 2 * (measured + warming + lonely)
const column: Column = { name: 'cold', tenants: total, spread: 'even', connections: total }

const rested = async (work: () => Promise<number>, ms = restMs): Promise<number> => {
  await sleep(ms)
  return work()
}

type Times = Record<'own' | 'bare' | 'hot' | 'lonely' | 'lonelyBare', number[]>

const measure = (world: World, port: number): Promise<Times> =>
  inOrder(async (line) => {
    const shots = shotsFor('freehold', world.tenants)
    const ask = async (n: number): Promise<number> => {
      const shot = shots[n]
      if (shot === undefined) throw new Error('there is no such tenant')
      const { good, ms, bytes } = await line.ask(shot)
      if (!good) throw new Error(`a first request was answered: ${bytes}`)
      return ms
    }
    const times: Times = { own: [], bare: [], hot: [], lonely: [], lonelyBare: [] }
    for (let n = 0; n < total; n += 2) {
      const stranger = world.tenants[n + 1]
      if (stranger === undefined) throw new Error('there is no such tenant')
      const isLonely = n >= 2 * (warming + measured)
      const ms = isLonely ? longRestMs : restMs
      // Whatever goes first would always find the other's traces.
      const bareFirst = n % 4 === 0
      const before = bareFirst ? await rested(() => bareConnect(stranger), ms) : 0
      const own = await rested(() => ask(n), ms)
      const bare = bareFirst ? before : await rested(() => bareConnect(stranger), ms)
      const hot = await ask(n)
      if (n < 2 * warming) continue
      times[isLonely ? 'lonely' : 'own'].push(own)
      times[isLonely ? 'lonelyBare' : 'bare'].push(bare)
      if (!isLonely) times.hot.push(hot)
    }
    return times
  }, port)

const inOrder = async <T>(
  work: (line: Awaited<ReturnType<typeof openLine>>) => Promise<T>,
  port: number,
): Promise<T> => {
  const line = await openLine(port)
  try {
    return await work(line)
  } finally {
    line.close()
  }
}

const row = (name: string, times: readonly number[], base: number): string[] => {
  const sorted = times.toSorted((a, b) => a - b)
  const cells = [quantile(sorted, 0), median(times), quantile(sorted, 0.9), quantile(sorted, 1)]
  return [name, ...cells.map((ms) => ms.toFixed(2)), (median(times) / base).toFixed(2)]
}

const world = await inTurn(() => openWorld({ tenants: total, maxConnections: total + 100 }))
try {
  const times = await inTurn(() =>
    withServers(world, column, ['freehold'], flags, async ([server]) => {
      if (server === undefined) throw new Error('the server is missing')
      return measure(world, server.port)
    }),
  )
  const [base, lonelyBase] = [median(times.bare), median(times.lonelyBare)]
  const rows = [
    row('bare connect and query', times.bare, base),
    row('**first request of a tenant**', times.own, base),
    row('its second request', times.hot, base),
    row('after a rest of 5 s: bare', times.lonelyBare, lonelyBase),
    row('**after a rest of 5 s: first request**', times.lonely, lonelyBase),
  ]
  const text = [
    `${machineLine(world.postgres.version)}; ${measured} tenants each, one after another, after ${warming} that only warm the code; then ${lonely} after rests of 5 s`,
    table(['milliseconds', 'least', 'median', '90 %', 'most', '×'], rows),
  ].join('\n\n')
  const promises = [
    { what: 'first request, to a bare connect and query', seen: median(times.own) / base, most: mostRatio },
    ...(flags.quick
      ? []
      : [{ what: 'after a rest of 5 s', seen: median(times.lonely) / lonelyBase, most: mostRatio }]),
  ]
  await report({ name: 'cold', text, promises, failures: [], write: flags.write })
} finally {
  await world.close()
}
if (flags.profile !== undefined) console.log(`\n${await profileSummary(flags.profile)}`)
