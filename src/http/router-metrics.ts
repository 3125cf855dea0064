import { Counter, Gauge, type Registry } from 'prom-client'
import type { ClusterStats, RouterStats } from '../connection-router/stats.ts'
import { registerHistogram } from './histogram.ts'

export type { RouterStats } from '../connection-router/stats.ts'

const totals = {
  opens: [
    'freehold_router_connections_opened_total',
    'Tenant connections that were begun to be opened, also those that failed',
  ],
  openFailures: ['freehold_router_connection_failures_total', 'Tenant connections that could not be opened'],
  evictions: [
    'freehold_router_pool_evictions_total',
    'Pools closed to make room or because their tenant changed',
  ],
  steals: ['freehold_router_permit_steals_total', "Idle connections closed for another tenant's sake"],
  yields: [
    'freehold_router_yields_total',
    "Connections closed at the end of their turn for another tenant's sake, although their own had more to do",
  ],
  timeouts: [
    'freehold_router_wait_timeouts_total',
    'Requests that waited for a connection until their deadline',
  ],
  hopeless: [
    'freehold_router_waits_refused_total',
    'Requests refused at once because so many of their tenant wait already, and hardly any is served',
  ],
  spoiled: [
    'freehold_router_connections_spoiled_total',
    'Connections destroyed because they came back unclean',
  ],
  mismatches: [
    'freehold_router_wrong_database_total',
    'Connections that reached another database than asked for',
  ],
  headOfLine: [
    'freehold_router_head_of_line_total',
    'Further shared connections wanted because a tenant had only slow or full ones',
  ],
  retries: ['freehold_router_read_retries_total', 'Reads run again because their connection died'],
  cancels: ['freehold_router_cancels_total', 'Statements cancelled because nobody waited for them any more'],
  halfOpen: [
    'freehold_router_half_open_total',
    'Connections given up because their server was gone, or they were lost on the way to it',
  ],
  overdueLeases: ['freehold_router_overdue_leases_total', 'Leases held longer than expected'],
} as const satisfies Partial<Record<keyof RouterStats, readonly [string, string]>>

const perCluster = {
  pools: ['freehold_router_pools', 'Tenants with a pool on this node'],
  leases: ['freehold_router_leases', 'Handlers that hold a tenant right now'],
  permitsTotal: ['freehold_router_permits', "This node's share: server connections that it may have"],
  permitsUsed: ['freehold_router_permits_used', 'Server connections that this node has open or is opening'],
  waiters: ['freehold_router_waiters', 'Requests waiting for a connection'],
  idle: ['freehold_router_connections_idle', 'Open connections that nobody uses right now'],
  busy: ['freehold_router_connections_busy', 'Connections in use'],
  shared: [
    'freehold_router_connections_shared',
    'Of those in use, the ones that serve plain statements side by side',
  ],
  inFlight: ['freehold_router_statements_in_flight', 'Statements sent and not answered yet'],
  named: ['freehold_router_named_statements', 'Statements that servers keep prepared for open connections'],
  opening: ['freehold_router_connections_opening', 'Connections being opened'],
  closing: ['freehold_router_connections_closing', 'Connections being closed, which still hold their permit'],
} as const satisfies Partial<Record<keyof ClusterStats, readonly [string, string]>>

const wait = {
  name: 'freehold_router_wait_seconds',
  help: 'Time that statements and transactions waited for a connection, of those that got one',
}

/** The whole budget of each cluster, over all nodes, as this node last heard it from the register. */
export type ClusterWholes = () => readonly { clusterId: string; whole: number }[]

/** Gauges that are not a plain number of the router's. */
const collectDerived = (registers: Registry[], stats: () => RouterStats, wholes: ClusterWholes): void => {
  new Gauge({
    name: 'freehold_router_breaker_open',
    help: '1 while the cluster cannot be reached and nothing is tried',
    labelNames: ['cluster'],
    registers,
    collect() {
      this.reset()
      for (const { clusterId, breaker } of stats().clusters)
        this.set({ cluster: clusterId }, breaker === 'closed' ? 0 : 1)
    },
  })
  new Gauge({
    name: 'freehold_router_budget',
    help: 'Server connections that all nodes together may have',
    labelNames: ['cluster'],
    registers,
    collect() {
      this.reset()
      for (const { clusterId, whole } of wholes()) this.set({ cluster: clusterId }, whole)
    },
  })
}

const collectWaits = (registry: Registry, stats: () => RouterStats): void =>
  registerHistogram(registry, wait, () => {
    const { boundsMs, counts, sumMs } = stats().waits
    const count = counts.reduce((sum, n) => sum + n, 0)
    return [{ labels: {}, bounds: boundsMs.map((ms) => ms / 1_000), counts, count, sum: sumMs / 1_000 }]
  })

/** The connection router's own numbers as Prometheus metrics, read when they are asked for. */
export const collectRouterMetrics = (
  registry: Registry,
  stats: () => RouterStats,
  wholes: ClusterWholes = () => [],
): void => {
  const registers = [registry]
  collectDerived(registers, stats, wholes)
  collectWaits(registry, stats)
  for (const [key, [name, help]] of Object.entries(totals) as [
    keyof typeof totals,
    readonly [string, string],
  ][]) {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(stats()[key])
      },
    })
  }
  for (const [key, [name, help]] of Object.entries(perCluster) as [
    keyof typeof perCluster,
    readonly [string, string],
  ][]) {
    new Gauge({
      name,
      help,
      labelNames: ['cluster'],
      registers,
      collect() {
        this.reset()
        for (const cluster of stats().clusters) this.set({ cluster: cluster.clusterId }, cluster[key])
      },
    })
  }
}
