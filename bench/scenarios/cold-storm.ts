/**
 * Two nodes are asked for 2,000 tenants at once, none of which has a connection, on a server with max_connections = 100. Beside
 * it, in turn: two processes that just connect, ask and close, at the concurrency that is best for them. "Cold" means that the
 * tenant has no connection; the files of its database have been read before, by both.
 * Usage: node bench/scenarios/cold-storm.ts [tenants] [--rounds=n] [--keep=folder], where --keep names a folder for the databases that is
 * not removed: making them takes longer than the rest.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, realpath } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { countOf } from '../lib/command-line.ts'
import { machineLine, report, table } from '../lib/report.ts'
import { quantile } from './ask.ts'
import { type ColdGround, openColdGround } from './cold-ground.ts'
import type { ColdOrder, ColdResult, ColdTenant } from './cold-node.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: 'string' }, rounds: { type: 'string', default: '5' } },
})
const count = countOf(positionals[0] ?? '2000', 'tenants')
const rounds = countOf(values.rounds, 'rounds')
const maxConnections = 100
const processes = 2
/** Bare connections at once, in both processes together. */
const concurrencies = [2, 4, 8, 12, 16, 24]
/** Tenants for trying each of them. */
const trial = 400

type Run = ColdResult & { most: number; mostOfAll: number }

const file = fileURLToPath(new URL('cold-node.ts', import.meta.url))

/** Each process is told its part, and begins when all are ready. */
const inProcesses = async (orders: readonly ColdOrder[]): Promise<{ go(): Promise<ColdResult[]> }> => {
  const children = orders.map((order) => {
    const child = fork(file)
    child.send(order)
    return child
  })
  await Promise.all(children.map((child) => once(child, 'message')))
  return {
    go: async () => {
      const ends = children.map((child) => once(child, 'exit'))
      const answers = children.map((child) => once(child, 'message'))
      for (const child of children) child.send('go')
      const results = (await Promise.all(answers)).map(([result]) => result as ColdResult)
      // A node that is alone may have more: none leaves before all have done their part.
      for (const child of children) child.send('leave')
      await Promise.all(ends)
      return results
    },
  }
}

/** Samples the server until `work` is done: sessions of tenants, and all sessions of clients. */
const watched = async <T>(watcher: pg.Client, work: Promise<T>) => {
  const state = { done: false, most: 0, mostOfAll: 0, samples: 0 }
  const finished = work.finally(() => {
    state.done = true
  })
  while (!state.done) {
    const { rows } = await watcher.query<{ tenants: number; all: number }>(
      `select count(*) filter (where usename like 't\\_%')::int as tenants, count(*)::int as all
       from pg_stat_activity where backend_type = 'client backend'`,
    )
    state.most = Math.max(state.most, rows[0]?.tenants ?? 0)
    state.mostOfAll = Math.max(state.mostOfAll, rows[0]?.all ?? 0)
    await sleep(10)
  }
  return { result: await finished, most: state.most, mostOfAll: state.mostOfAll }
}

const parts = (tenants: readonly ColdTenant[]): ColdTenant[][] =>
  Array.from({ length: processes }, (_, n) => tenants.filter((_tenant, i) => i % processes === n))

const run = async (
  watcher: pg.Client,
  tenants: readonly ColdTenant[],
  order: (part: readonly ColdTenant[]) => ColdOrder,
): Promise<Run> => {
  const started = await inProcesses(parts(tenants).map(order))
  const { result, most, mostOfAll } = await watched(watcher, started.go())
  const errors: Record<string, number> = {}
  for (const one of result)
    for (const [what, n] of Object.entries(one.errors)) errors[what] = (errors[what] ?? 0) + n
  return {
    tookMs: Math.max(...result.map((one) => one.tookMs)),
    times: result.flatMap((one) => one.times),
    ...{ errors, most, mostOfAll },
  }
}

const perSecond = ({ times, tookMs }: Run): string => ((times.length / tookMs) * 1_000).toFixed(0)

const row = (name: string, one: Run): string[] => [
  ...[name, String(one.times.length), (one.tookMs / 1_000).toFixed(2), perSecond(one)],
  ...[(quantile(one.times, 0.5) / 1_000).toFixed(2), (quantile(one.times, 1) / 1_000).toFixed(2)],
  ...[String(one.most), String(one.mostOfAll)],
]

const measure = async ({ postgres, tenants, budget }: ColdGround): Promise<void> => {
  const watcher = new pg.Client(clientOptions(postgres.superuser))
  await watcher.connect()
  try {
    const bare = (some: readonly ColdTenant[], atOnce: number): Promise<Run> =>
      run(watcher, some, (part) => ({ way: 'bare', tenants: part, atOnce: atOnce / processes }))
    const storm = (): Promise<Run> =>
      run(watcher, tenants, (part) => ({
        ...{ way: 'router', master: postgres.master, tenants: part, nodes: processes },
      }))
    await bare(tenants, 8)
    const rows: string[][] = []
    const trials: [number, Run][] = []
    for (const atOnce of concurrencies) trials.push([atOnce, await bare(tenants.slice(0, trial), atOnce)])
    for (const [atOnce, one] of trials) rows.push(row(`bare, ${atOnce} at once`, one))
    const rate = ({ times, tookMs }: Run): number => times.length / tookMs
    const [best] = trials.toSorted(([, a], [, b]) => rate(b) - rate(a))
    if (best === undefined) throw new Error('nothing was tried')
    const ratios: number[] = []
    const storms: Run[] = []
    for (let n = 1; n <= rounds; n += 1) {
      const plain = await bare(tenants, best[0])
      const ours = await storm()
      ratios.push(ours.tookMs / plain.tookMs)
      storms.push(ours)
      rows.push(row(`${n}: bare, ${best[0]} at once`, plain), row(`${n}: two nodes, all at once`, ours))
    }
    const errors = storms.flatMap((one) => Object.entries(one.errors))
    const head = ['cold tenants', 'served', 'seconds', 'a second', 'median s', 'longest s', 'tenants', 'all']
    await report({
      name: 'cold-storm',
      text:
        `${machineLine(postgres.version)}; ${tenants.length} tenants, max_connections ${maxConnections}, ` +
        `budget ${budget}\n\n${table(head, rows)}`,
      promises: [
        { what: 'errors', seen: errors.reduce((sum, [, n]) => sum + n, 0), most: 0 },
        { what: 'most sessions of tenants', seen: Math.max(...storms.map((one) => one.most)), most: budget },
        { what: 'storm ÷ bare at its best, median', seen: quantile(ratios, 0.5), most: 1.3 },
      ],
      failures: errors.map(([what, n]) => `${n} × ${what}`),
      write: false,
    })
  } finally {
    await watcher.end()
  }
}

const { keep } = values
if (keep !== undefined) await mkdir(keep, { recursive: true, mode: 0o711 })
const ground = await openColdGround(
  count,
  maxConnections,
  keep === undefined ? undefined : await realpath(keep),
)
try {
  await measure(ground)
} finally {
  await ground.close()
}
