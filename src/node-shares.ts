import { hostname } from 'node:os'
import type { ConnectionRouter } from './connection-router/connection-router.ts'
import { ShareLease } from './connection-router/share-lease.ts'
import type { Config } from './kernel/config.ts'
import type { KeyRing } from './kernel/crypto.ts'
import type { Logger } from './kernel/log.ts'
import type { PostgresAddress } from './kernel/postgres-address.ts'
import { nodeSays } from './master/live-names.ts'
import { openNodeLink } from './master/nodes.ts'
import type { ServerProbe } from './tenant-manager/probe-server.ts'
import { version } from './version.ts'

/** How long a node may use its shares without a word from the master; as long, a killed node's shares are nobody's. */
const ownLeaseMs = 6_000

/** For operators with psql, backups and monitoring. */
const operatorConnections = 10

/**
 * What every node takes for itself on the server that holds the master: its master pool (12), the provisioner (4), and
 * one each for the change feed, the register of nodes and the locks.
 */
const connectionsPerNode = 19

/** An idle server process takes 2 to 3 MB: this many take a gigabyte. Who has more memory sets CONNECTION_BUDGET. */
const largestBudget = 400

/**
 * The connections that all nodes together may have on the server beside the master: what the operator says, or what the
 * server has for ordinary roles without what others need; then each node takes `perNode` of them for itself.
 */
export const connectionBudget = (
  { connectionBudget: given }: Pick<Config, 'connectionBudget'>,
  { maxConnections, reservedConnections }: Pick<ServerProbe, 'maxConnections' | 'reservedConnections'>,
): { budget: number; perNode: number } => {
  if (given !== undefined) return { budget: given, perNode: 0 }
  const free = maxConnections - reservedConnections - operatorConnections
  return { budget: Math.max(1, Math.min(largestBudget, free)), perNode: connectionsPerNode }
}

/**
 * How many more connections the server would need for this budget, this one node and its operators; 0 when there are enough.
 * What is missing is refused by the server, to whoever comes last.
 */
export const missingConnections = (
  { budget, perNode }: ReturnType<typeof connectionBudget>,
  { maxConnections, reservedConnections }: Pick<ServerProbe, 'maxConnections' | 'reservedConnections'>,
): number => {
  const wanted = budget - perNode + connectionsPerNode + operatorConnections
  return Math.max(0, wanted - (maxConnections - reservedConnections))
}

export type NodeSharesOptions = {
  id: string
  config: Pick<Config, 'role'>
  master: PostgresAddress
  /** Its master keys, so that the others can ask which it knows; without them it tells nothing. */
  keys?: Pick<KeyRing, 'keyId' | 'keyIds'>
  /** How long the lease lasts without a renewal; 6 s. The same on every node. */
  leaseMs?: number
  log: Logger
  router: () => Pick<ConnectionRouter<unknown>, 'permitsUsed' | 'setShare' | 'cut' | 'stats'>
}

/** This node's lease on its shares of every cluster's budget. It begins with `open`. */
export const createNodeShares = ({
  id,
  config,
  master,
  keys,
  leaseMs = ownLeaseMs,
  log,
  router,
}: NodeSharesOptions): ShareLease => {
  // Handlers need tenants' connections, and so do their jobs.
  const routes = true
  const says = () =>
    keys === undefined
      ? []
      : [...keys.keyIds.map((keyId) => nodeSays.opens(id, keyId)), nodeSays.seals(id, keys.keyId)]
  const facts = { id, role: config.role, version, host: hostname(), routes }
  const numbers = () =>
    router()
      .stats()
      .clusters.map(({ clusterId, pools, leases, waiters, opening, idle, busy, closing }) => {
        return { clusterId, pools, leases, waiters, opening, idle, busy, closing }
      })
  const link = openNodeLink(master, facts, leaseMs, { says, numbers })
  return new ShareLease({
    renew: link.renew,
    leave: link.leave,
    leaseMs,
    inUse: (clusterId) => router().permitsUsed(clusterId),
    onShare: (clusterId, share) => router().setShare(clusterId, share),
    onLost: () => router().cut(),
    log,
  })
}
