import { type Clock, systemClock } from '../kernel/clock.ts'
import type { Logger } from '../kernel/log.ts'
import type { FindTenant } from './directory.ts'

export type ConnectionRouterOptions = Readonly<{
  findTenant: FindTenant
  /** Server connections that this node may have on each cluster; where it changes, `setShare` says so. */
  budget: number | ((clusterId: string) => number)
  /** False while this node must not open connections, whatever its budget. */
  mayOpen?: () => boolean
  /** Server connections of one tenant over all nodes; on this one never more than three quarters of its budget. */
  tenantMaxConnections: number
  /** How many nodes share that, this one included. */
  nodes?: () => number
  /** How long a statement may wait for its connection before `overloaded`. */
  acquireTimeoutMs?: number
  /** Connections unused for this long are closed. */
  idleTimeoutMs?: number
  /** Leases held for longer are logged and counted, once each. */
  leaseWarnMs?: number
  statementTimeoutMs?: number
  /** Handlers that run when their tenant is suspended, deleted or moved go on for so long; then they are cancelled. */
  graceMs?: number
  /** False while invalidations may be lost: placements are then looked up every time. */
  isFresh?: () => boolean
  log: Logger
  clock?: Clock
}>

/** What is not said otherwise. */
export const routerDefaults = {
  acquireTimeoutMs: 5_000,
  idleTimeoutMs: 60_000,
  leaseWarnMs: 60_000,
  statementTimeoutMs: 30_000,
  graceMs: 10_000,
  nodes: () => 1,
  isFresh: () => true,
  mayOpen: () => true,
  clock: systemClock,
}
