import type { Clock } from '../kernel/clock.ts'
import type { RouterCounters } from './stats.ts'
import type { ServerConnection, SlotEvents, TenantPool } from './tenant-pool.ts'
import type { Ticks } from './wire/watch.ts'

export type ClusterBudgetOptions<C extends ServerConnection> = Readonly<{
  clusterId: string
  /** Permits at first: server connections that this node may have on the cluster. See `setTotal`. */
  budget: number
  /** Asked before each connect; see ConnectGate. */
  mayOpen?: () => boolean
  /** Connections that one tenant may have now, on this node, if its plan allows it `byPlan` over all of them. */
  tenantMax: (byPlan: number) => number
  counters: RouterCounters
  clock: Clock
  /** Counts the turns in which answers could have been read. */
  watch: Ticks
  /** From 0 to 1, for jitter. */
  random?: () => number
  /** Makes a connection that is not open yet. */
  connect: (pool: TenantPool<C>, events: SlotEvents) => C
  /** A pool has nothing open any more. */
  onEmpty: (pool: TenantPool<C>) => void
}>

/** A pool whose connect failed, but which has working connections, does not try again for this long, give or take half. */
export const retryMs = 250
