import { fire, type Shot, shot } from './cannon.ts'
import { drawTenants, type Spread } from './random.ts'
import type { Usage } from './serve.ts'
import type { RunningServer, ServerName, ServerProcess } from './server-process.ts'
import type { BenchTenant } from './world.ts'

/** One run of one server. */
export type Run = Readonly<{
  name: string
  perSecond: number
  /** Node's processor time for one request, in microseconds, all its threads. */
  cpuMicros: number
  /** Milliseconds. */
  p50: number
  p99: number
  failed: number
  failures: readonly string[]
  before: Usage
  after: Usage
}>

export type Load = Readonly<{
  tenants: readonly BenchTenant[]
  spread: Spread
  connections: number
  warmUp: number
  seconds: number
}>

/** Every run of one seed asks the same tenants in the same order. */
const seed = 20_220
/** Which servers look at one database only, whatever they are asked for. */
const oneDatabase = new Set<ServerName>(['fastify', 'ceiling', 'kysely'])

/** What a server is asked for, tenant by tenant. */
export const shotsFor = (name: ServerName, tenants: readonly BenchTenant[]): Shot[] =>
  tenants.map(({ token, projectId }, i) => {
    const { projectId: asked = projectId } = oneDatabase.has(name) ? (tenants[0] ?? {}) : {}
    const headers: Record<string, string> =
      name === 'freehold' ? { authorization: `Bearer ${token}` } : { 'x-tenant': String(i) }
    return shot(`/api/projects/${asked}`, headers, asked)
  })

export const quantile = (sorted: ArrayLike<number>, part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** Loads a server that is up with these shots, one a tenant, and says what it did. */
export const runShots = async (
  server: RunningServer & { name: string },
  shots: readonly Shot[],
  load: Omit<Load, 'tenants'>,
): Promise<Run> => {
  const [first] = shots
  if (first === undefined) throw new Error('there is nobody to ask for')
  const draw = drawTenants(load.spread, shots.length, seed)
  const usages: Usage[] = []
  const note = async (): Promise<void> => {
    usages.push(await server.usage())
  }
  const volley = await fire({
    ...load,
    port: server.port,
    next: () => shots[draw()] ?? first,
    begun: note,
    ended: note,
  })
  const [before, after] = usages
  if (before === undefined || after === undefined) throw new Error('the run ended early')
  const { answers, failed, failures, seconds, latencies } = volley
  return {
    name: server.name,
    perSecond: answers / seconds,
    cpuMicros: (after.user + after.system - before.user - before.system) / answers,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    failed,
    failures,
    before,
    after,
  }
}

/** As `runShots`, asking for one project of each tenant. */
export const runOnce = (server: ServerProcess, load: Load): Promise<Run> =>
  runShots(server, shotsFor(server.name, load.tenants), load)

/** A configuration against the ceiling: the runs, and the median of the ratios of each run to the ceiling's just before. */
export type Paired = Readonly<{
  ceiling: readonly Run[]
  own: readonly Run[]
  ratios: readonly number[]
  ratio: number
}>

export const failuresOf = (runs: readonly Run[]): string[] =>
  runs.flatMap(({ name, failed, failures }) =>
    failed === 0 ? [] : [`${name}: ${failed} answers were not as expected, such as: ${failures[0] ?? ''}`],
  )

/** Runs one, then the other, `rounds` times. Throws when any answer was not as expected. */
export const pairRuns = async (
  ceiling: () => Promise<Run>,
  own: () => Promise<Run>,
  rounds: number,
): Promise<Paired> => {
  const pairs: (readonly [Run, Run])[] = []
  for (let round = 0; round < rounds; round += 1) pairs.push([await ceiling(), await own()])
  const failures = failuresOf(pairs.flat())
  if (failures.length > 0) throw new Error(failures.join('\n'))
  const ratios = pairs.map(([base, other]) => other.perSecond / base.perSecond)
  return {
    ceiling: pairs.map(([base]) => base),
    own: pairs.map(([, other]) => other),
    ratios,
    ratio: median(ratios),
  }
}

/** Runs the ceiling, then the other, `rounds` times. Throws when any answer was not as expected. */
export const runPaired = (
  ceiling: ServerProcess,
  own: ServerProcess,
  load: Load,
  rounds: number,
): Promise<Paired> =>
  pairRuns(
    () => runOnce(ceiling, load),
    () => runOnce(own, load),
    rounds,
  )
