/**
 * How fast is the whole path against the plainest way to do the same? Every server below, in every column, each run right
 * after a run of the ceiling; fails when Freehold is below what it promises, or when any answer was not as expected.
 * Usage: node bench/throughput.ts [--quick] [--rows a,b] [--columns a,b] [--rounds 5] [--profile folder] [--write]
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Column, connections, measureCell, quickPace, usualPace } from './lib/cell.ts'
import { countOf } from './lib/command-line.ts'
import { median, type Paired } from './lib/pair.ts'
import { profileSummary } from './lib/profile.ts'
import { machineLine, type Promised, report, table } from './lib/report.ts'
import type { ServerName } from './lib/server-process.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

/** More than anyone uses: everything fits. */
const ample = (tenants: number): number => Math.max(80, tenants + 20)
const fitting = (tenants: number, spread: 'even' | 'zipf'): Column => ({
  name: spread === 'even' ? String(tenants) : `${tenants} Zipf`,
  tenants,
  spread,
  connections: ample(tenants),
})
const crowded = (tenants: number, spread: 'even' | 'zipf'): Column => ({
  ...fitting(tenants, spread),
  name: `${tenants} ${spread === 'even' ? '' : 'Zipf '}in ${tenants / 5}`,
  connections: tenants / 5,
})

/** The smallest crowd is 20 in 4: Freehold takes no smaller budget. */
const allColumns: readonly Column[] = [
  ...[1, 10, 100, 250, 500].map((tenants) => fitting(tenants, 'even')),
  ...[10, 100, 250, 500].map((tenants) => fitting(tenants, 'zipf')),
  ...[20, 100, 500].flatMap((tenants) => [crowded(tenants, 'even'), crowded(tenants, 'zipf')]),
]

const rowNames: Readonly<Record<Exclude<ServerName, 'ceiling'>, string>> = {
  fastify: 'Fastify, no database',
  kysely: 'Fastify + one pg.Pool + Kysely',
  client: 'a new pg.Client per request',
  pools: 'an LRU of pg.Pools, named statement',
  pgbouncer: 'a pg.Pool per tenant over PgBouncer',
  freehold: '**Freehold, the whole path**',
}
type RowName = keyof typeof rowNames

/** They know one database only, so only the column of one tenant means something. */
const oneColumn = new Set<RowName>(['fastify', 'kysely'])

/** PgBouncer can't be told how many connections there may be in all, so nothing is ever crowded in it. */
const isMeant = (row: RowName, column: Column): boolean =>
  row === 'pgbouncer' ? column.connections >= column.tenants : !oneColumn.has(row) || column === allColumns[0]

/** The least ratio to the ceiling. */
const promised: Readonly<Record<string, number>> = { '1': 1, '10': 1, '250': 0.6 }
/** Pairs for what is promised: on a shared machine the median of five moves by a fifth from run to run. */
const promisedRounds = 25

const isInstalled = (program: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

type Cell = Readonly<{ row: RowName; column: Column; paired: Paired | undefined }>

const middle = (runs: Paired['own'], of: 'perSecond' | 'cpuMicros' | 'p50' | 'p99'): number =>
  median(runs.map((run) => run[of]))

const ratioTable = (cells: readonly Cell[], rows: readonly RowName[], columns: readonly Column[]): string => {
  const ratio = (row: RowName, column: Column): string => {
    const cell = cells.find((one) => one.row === row && one.column === column)
    if (cell === undefined) return ''
    return cell.paired === undefined ? 'failed' : cell.paired.ratio.toFixed(2)
  }
  const ceiling = ['Fastify + one pg.Pool(10), named statement', ...columns.map(() => '1.00')]
  const lines = rows.map((row) => [rowNames[row], ...columns.map((column) => ratio(row, column))])
  return table(['ratio to the ceiling', ...columns.map(({ name }) => name)], [ceiling, ...lines])
}

/** What is behind the ratios of our own row. */
const detailTable = (cells: readonly Cell[]): string => {
  const rows = cells.flatMap(({ row, column, paired }) => {
    if (row !== 'freehold' || paired === undefined) return []
    const { own, ceiling, ratios } = paired
    const range = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
    const numbers = [own, ceiling].flatMap((runs) => [
      Math.round(middle(runs, 'perSecond')).toString(),
      middle(runs, 'cpuMicros').toFixed(1),
      middle(runs, 'p50').toFixed(1),
      middle(runs, 'p99').toFixed(1),
    ])
    return [[column.name, range, ...numbers]]
  })
  const each = (whose: string): string[] => [`${whose}/s`, 'CPU µs', 'p50 ms', 'p99 ms']
  return table(['Freehold', 'ratios', ...each(''), ...each('ceiling ')], rows)
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    rows: { type: 'string' },
    columns: { type: 'string' },
    rounds: { type: 'string' },
    profile: { type: 'string' },
  },
})

const chosen = <T>(all: readonly T[], names: string | undefined, nameOf: (one: T) => string): T[] => {
  const wanted = names?.split(',')
  const unknown = wanted?.filter((name) => !all.some((one) => nameOf(one) === name)) ?? []
  if (unknown.length > 0)
    throw new Error(`unknown: ${unknown.join(', ')}; there are: ${all.map(nameOf).join(', ')}`)
  return all.filter((one) => wanted?.includes(nameOf(one)) ?? true)
}

const measure = async (world: World, rows: readonly RowName[], columns: readonly Column[]): Promise<void> => {
  const usual = flags.quick ? quickPace : usualPace
  const rounds = flags.rounds === undefined ? undefined : countOf(flags.rounds, 'rounds')
  const roundsOf = (row: RowName, column: Column): number => {
    const isPromised = row === 'freehold' && promised[column.name] !== undefined
    return rounds ?? (isPromised && !flags.quick ? promisedRounds : usual.rounds)
  }
  const cells: Cell[] = []
  const failures: string[] = []
  for (const column of columns) {
    for (const row of rows) {
      if (!isMeant(row, column)) continue
      const paired = await measureCell(world, column, row, {
        pace: { ...usual, rounds: roundsOf(row, column) },
        profile: flags.profile,
      }).catch((error: unknown) => {
        failures.push(`${row}, ${column.name}: ${error instanceof Error ? error.message : String(error)}`)
        return undefined
      })
      cells.push({ row, column, paired })
      const ratio = paired === undefined ? failures.at(-1) : paired.ratio.toFixed(3)
      console.log(`${column.name}, ${row}: ${ratio}`)
    }
  }
  const promises = cells.flatMap(({ row, column, paired }): Promised[] => {
    const least = promised[column.name]
    if (row !== 'freehold' || paired === undefined || least === undefined) return []
    return [{ what: `${column.name} tenants, all fitting, to the ceiling`, seen: paired.ratio, least }]
  })
  const pairs = rounds ?? (flags.quick ? usual.rounds : `${usual.rounds} (promised: ${promisedRounds})`)
  const how = `${machineLine(world.postgres.version)}; ${connections} requests at a time, medians of ${pairs} pairs of ${usual.seconds} s`
  const text = [how, ratioTable(cells, rows, columns), detailTable(cells)].join('\n\n')
  await report({ name: 'throughput', text, promises, failures, write: flags.write })
}

const known = (Object.keys(rowNames) as RowName[]).filter(
  (row) => row !== 'pgbouncer' || isInstalled('pgbouncer'),
)
if (!known.includes('pgbouncer')) console.log('pgbouncer is not on the PATH: its row is left out')
const rows = chosen(known, flags.rows, (row) => row)
const columns = chosen(allColumns, flags.columns, ({ name }) => name)
const most = Math.max(...columns.map(({ tenants }) => tenants))
const world = await inTurn(() => openWorld({ tenants: most, maxConnections: most + 200 }))
try {
  await measure(world, rows, columns)
} finally {
  await world.close()
}
if (flags.profile !== undefined) console.log(`\n${await profileSummary(flags.profile)}`)
