import type { BreakerState } from './breaker.ts'

/** Upper bounds of the wait histogram, in milliseconds; waits above the last are counted behind it. */
export const waitBoundsMs = [0, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000] as const

/** What has happened since the start. Only ever grows. */
export class RouterCounters {
  opens = 0
  openFailures = 0
  /** Pools closed: their identity changed, or nothing of them was left open. */
  evictions = 0
  /** Idle connections closed so that another tenant got their permit. */
  steals = 0
  /** Connections closed at the end of their turn although their tenant had more waiting work. */
  yields = 0
  /** Waits that met their deadline. */
  timeouts = 0
  /** Waits that were not begun, because they would have been in vain. */
  hopeless = 0
  /** Connections that came back unfit for anyone else and were closed. */
  spoiled = 0
  /** Connections that reached a database other than the tenant's. */
  mismatches = 0
  overdueLeases = 0
  /** Further shared connections wanted because every other one of the tenant was slow or full. */
  headOfLine = 0
  /** Reads that were tried again because their connection died. */
  retries = 0
  /** Statements cancelled on the server: nobody waited for them any more, or their tenant was closed. */
  cancels = 0
  /** Connections given up because their server had gone without a word, or they were lost on the way to it. */
  halfOpen = 0
  readonly waits: number[] = new Array(waitBoundsMs.length + 1).fill(0)
  waitedMs = 0

  recordWait(ms: number): void {
    const index = ms <= 0 ? 0 : waitBoundsMs.findIndex((bound) => ms <= bound)
    const bucket = index === -1 ? waitBoundsMs.length : index
    this.waits[bucket] = (this.waits[bucket] ?? 0) + 1
    this.waitedMs += Math.max(0, ms)
  }
}

/** What a cluster's budget knows of itself. */
export type BudgetStats = Readonly<{
  clusterId: string
  /** Open: the cluster can't be reached, and nothing is tried for a moment. */
  breaker: BreakerState
  permitsTotal: number
  permitsUsed: number
  waiters: number
  opening: number
  idle: number
  busy: number
  closing: number
  /** Of the busy ones, those that serve plain statements side by side. */
  shared: number
  /** Statements sent and not answered yet. */
  inFlight: number
  /** Statements that servers keep prepared for open connections. */
  named: number
}>

export type ClusterStats = BudgetStats &
  Readonly<{
    /** Tenants with a pool. */
    pools: number
    /** Handlers that hold a tenant. */
    leases: number
  }>

export type RouterStats = Readonly<{
  pools: number
  leases: number
  waiters: number
  clusters: readonly ClusterStats[]
  opens: number
  openFailures: number
  evictions: number
  steals: number
  yields: number
  timeouts: number
  hopeless: number
  spoiled: number
  mismatches: number
  overdueLeases: number
  headOfLine: number
  retries: number
  cancels: number
  halfOpen: number
  /** `counts[i]` waits took at most `boundsMs[i]` and more than the bound before; the last count is above all bounds. */
  waits: Readonly<{ boundsMs: readonly number[]; counts: readonly number[]; sumMs: number }>
}>

/** How many of these are on each cluster. */
export const countByCluster = (things: Iterable<{ readonly clusterId: string }>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const { clusterId } of things) counts.set(clusterId, (counts.get(clusterId) ?? 0) + 1)
  return counts
}

/** All numbers of a router, of this moment. */
export const routerStats = (
  { waits, waitedMs, ...counters }: RouterCounters,
  clusters: readonly ClusterStats[],
): RouterStats => {
  const sum = (of: 'pools' | 'leases' | 'waiters'): number => clusters.reduce((all, one) => all + one[of], 0)
  return {
    ...{ pools: sum('pools'), leases: sum('leases'), waiters: sum('waiters') },
    clusters,
    ...counters,
    waits: { boundsMs: waitBoundsMs, counts: [...waits], sumMs: waitedMs },
  }
}
