import { type Static, Type } from 'typebox'
import type { RouterStats } from '../../http/router-metrics.ts'
import { Id, Nullable, Time } from '../../http/schemas.ts'
import type { listClusterBudgets, listNodeShares } from '../../master/nodes.ts'

const Count = (description: string) => Type.Integer({ description })

const Here = Type.Object(
  {
    share: Count('Connections that this node may have'),
    used: Count('Connections that it has: open, opening and closing'),
    pools: Count('Tenants with a pool'),
    leases: Count('Handlers that hold a tenant'),
    waiters: Count('Statements that wait for a connection'),
    opening: Type.Integer(),
    idle: Type.Integer(),
    busy: Type.Integer(),
    closing: Type.Integer(),
    breaker: Type.Union([Type.Literal('closed'), Type.Literal('open'), Type.Literal('half-open')], {
      description: 'Open: the cluster cannot be reached, and nothing is tried for a moment',
    }),
  },
  { title: 'RouterClusterHere' },
)

const Share = Type.Object(
  {
    node: Id(),
    granted: Count('The most connections the node can have before its next heartbeat'),
    inUse: Count('Connections it had at its last heartbeat, as all that follows'),
    pools: Count('Tenants with a pool'),
    leases: Count('Handlers that held a tenant'),
    waiters: Count('Statements that waited for a connection'),
    opening: Type.Integer(),
    idle: Type.Integer(),
    busy: Type.Integer(),
    closing: Type.Integer(),
  },
  { title: 'RouterShare' },
)

const Cluster = Type.Object(
  {
    id: Id(),
    name: Type.String(),
    status: Type.String(),
    whole: Count('Connections that all nodes together may have for tenants'),
    granted: Type.Integer(),
    inUse: Count('Connections of all nodes at their last heartbeats, as the three that follow'),
    pools: Type.Integer(),
    leases: Type.Integer(),
    waiters: Type.Integer(),
    here: Nullable(Here),
    shares: Type.Array(Share),
  },
  { title: 'RouterCluster' },
)

const Node = Type.Object(
  {
    id: Id(),
    role: Type.String(),
    version: Type.String(),
    host: Type.String(),
    routes: Type.Boolean({ description: 'False: it opens no tenant connections' }),
    startedAt: Time(),
    heartbeatAt: Time(),
    expiresAt: Time(),
    pools: Count('Tenants with a pool there at its last heartbeat, on all clusters; so the two that follow'),
    leases: Type.Integer(),
    waiters: Type.Integer(),
  },
  { title: 'RouterNode' },
)

export const RouterView = Type.Object(
  {
    node: Type.String({ format: 'uuid', description: 'The node that answers' }),
    pools: Count('Tenants with a pool on the node that answers; what it says of itself is of this moment'),
    leases: Count('Handlers that hold a tenant right now'),
    waiters: Type.Integer(),
    opens: Count('Connections begun since the start, as all that follow'),
    openFailures: Type.Integer(),
    steals: Type.Integer(),
    timeouts: Type.Integer(),
    overdueLeases: Type.Integer(),
    clusters: Type.Array(Cluster),
    nodes: Type.Array(Node),
  },
  { title: 'Router' },
)

type ShareRow = Awaited<ReturnType<typeof listNodeShares>>[number]
type ClusterRow = Awaited<ReturnType<typeof listClusterBudgets>>[number]

const sumOf = <K extends string>(
  things: readonly Readonly<Partial<Record<K, number | null>>>[],
  key: K,
): number => things.reduce((sum, thing) => sum + (thing[key] ?? 0), 0)

/** What is told of pools, leases and waiters, on several clusters or nodes together. */
const told = (shares: readonly Pick<ShareRow, 'pools' | 'leases' | 'waiters'>[]) => ({
  pools: sumOf(shares, 'pools'),
  leases: sumOf(shares, 'leases'),
  waiters: sumOf(shares, 'waiters'),
})

const toShare = (row: ShareRow): Static<typeof Share> => ({
  node: row.id,
  granted: row.granted ?? 0,
  inUse: row.in_use ?? 0,
  ...told([row]),
  opening: row.opening ?? 0,
  idle: row.idle ?? 0,
  busy: row.busy ?? 0,
  closing: row.closing ?? 0,
})

const toNode = (row: ShareRow, rows: readonly ShareRow[]): Static<typeof Node> => ({
  id: row.id,
  role: row.role,
  version: row.version,
  host: row.host,
  routes: row.routes,
  startedAt: row.started_at.toISOString(),
  heartbeatAt: row.heartbeat_at.toISOString(),
  expiresAt: row.expires_at.toISOString(),
  ...told(rows.filter(({ id }) => id === row.id)),
})

const toCluster = (
  row: ClusterRow,
  rows: readonly ShareRow[],
  nodes: number,
  stats: RouterStats,
): Static<typeof Cluster> => {
  const own = rows.filter(({ cluster_id }) => cluster_id === row.id)
  const here = stats.clusters.find(({ clusterId }) => clusterId === row.id)
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    // As renew_node counts it.
    whole: Math.max(1, row.connection_budget - nodes * row.connections_per_node),
    granted: sumOf(own, 'granted'),
    inUse: sumOf(own, 'in_use'),
    ...told(own),
    here: here === undefined ? null : { share: here.permitsTotal, used: here.permitsUsed, ...here },
    shares: own.map(toShare),
  }
}

/** This node's own numbers, and of the others what they told the register at their last heartbeat. */
export const toRouterView = (
  nodeId: string,
  stats: RouterStats,
  clusters: readonly ClusterRow[],
  rows: readonly ShareRow[],
): Static<typeof RouterView> => {
  const first = new Map(rows.map((row) => [row.id, row]))
  const nodes = [...first.values()].map((row) => toNode(row, rows))
  return {
    ...stats,
    node: nodeId,
    clusters: clusters.map((cluster) => toCluster(cluster, rows, nodes.length, stats)),
    nodes,
  }
}
