import { type Static, Type } from 'typebox'
import type { RouterStats } from '../../http/router-metrics.ts'
import { Id, Nullable, Time } from '../../http/schemas.ts'
import type { listClusterBudgets, listNodeShares } from '../../master/nodes.ts'

const Count = (description: string) => Type.Integer({ description })

const Here = Type.Object(
  {
    share: Count('Connections that this node may have'),
    used: Count('Connections that it has: open, opening and closing'),
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
    inUse: Count('Connections it had at its last heartbeat'),
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
    inUse: Type.Integer(),
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
  },
  { title: 'RouterNode' },
)

export const RouterView = Type.Object(
  {
    node: Type.String({ format: 'uuid', description: 'The node that answers' }),
    pools: Count('Tenants with a pool on this node'),
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

const toNode = (row: ShareRow): Static<typeof Node> => ({
  id: row.id,
  role: row.role,
  version: row.version,
  host: row.host,
  routes: row.routes,
  startedAt: row.started_at.toISOString(),
  heartbeatAt: row.heartbeat_at.toISOString(),
  expiresAt: row.expires_at.toISOString(),
})

const toCluster = (
  row: ClusterRow,
  rows: readonly ShareRow[],
  nodes: number,
  stats: RouterStats,
): Static<typeof Cluster> => {
  const shares = rows
    .filter(({ cluster_id }) => cluster_id === row.id)
    .map(({ id, granted, in_use }) => ({ node: id, granted: granted ?? 0, inUse: in_use ?? 0 }))
  const here = stats.clusters.find(({ clusterId }) => clusterId === row.id)
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    // As renew_node counts it.
    whole: Math.max(1, row.connection_budget - nodes * row.connections_per_node),
    granted: shares.reduce((sum, { granted }) => sum + granted, 0),
    inUse: shares.reduce((sum, { inUse }) => sum + inUse, 0),
    here: here === undefined ? null : { share: here.permitsTotal, used: here.permitsUsed, ...here },
    shares,
  }
}

/** This node's own numbers, and of the others what they told the register at their last heartbeat. */
export const toRouterView = (
  nodeId: string,
  stats: RouterStats,
  clusters: readonly ClusterRow[],
  rows: readonly ShareRow[],
): Static<typeof RouterView> => {
  const nodes = [...new Map(rows.map((row) => [row.id, toNode(row)])).values()]
  return {
    ...stats,
    node: nodeId,
    clusters: clusters.map((cluster) => toCluster(cluster, rows, nodes.length, stats)),
    nodes,
  }
}
