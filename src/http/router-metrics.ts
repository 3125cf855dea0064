import { Counter, Gauge, type Registry } from 'prom-client'
import type { ClusterStats, RouterStats } from '../connection-router/stats.ts'

const totals = {
  opens: ['freehold_router_connections_opened_total', 'Tenant connections opened'],
  openFailures: ['freehold_router_connection_failures_total', 'Tenant connections that could not be opened'],
  evictions: [
    'freehold_router_pool_evictions_total',
    'Pools closed to make room or because their tenant changed',
  ],
  steals: ['freehold_router_permit_steals_total', "Idle connections closed for another tenant's sake"],
  timeouts: [
    'freehold_router_wait_timeouts_total',
    'Requests that waited for a connection until their deadline',
  ],
  spoiled: [
    'freehold_router_connections_spoiled_total',
    'Connections destroyed because they came back unclean',
  ],
  mismatches: [
    'freehold_router_wrong_database_total',
    'Connections that reached another database than asked for',
  ],
  overdueLeases: ['freehold_router_overdue_leases_total', 'Leases held longer than expected'],
} as const satisfies Partial<Record<keyof RouterStats, readonly [string, string]>>

const perCluster = {
  permitsTotal: ['freehold_router_permits', 'Server connections that this node may open'],
  permitsUsed: ['freehold_router_permits_used', 'Server connections that this node has open or is opening'],
  waiters: ['freehold_router_waiters', 'Requests waiting for a connection'],
  idle: ['freehold_router_connections_idle', 'Open connections that nobody uses right now'],
  busy: ['freehold_router_connections_busy', 'Connections in use'],
} as const satisfies Partial<Record<keyof ClusterStats, readonly [string, string]>>

/** The connection router's own numbers as Prometheus metrics, read when they are asked for. */
export const collectRouterMetrics = (registry: Registry, stats: () => RouterStats): void => {
  const registers = [registry]
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
  for (const [key, name, help] of [
    ['pools', 'freehold_router_pools', 'Tenants with a pool on this node'],
    ['leases', 'freehold_router_leases', 'Handlers that hold a tenant right now'],
  ] as const) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(stats()[key])
      },
    })
  }
}
