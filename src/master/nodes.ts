import pg from 'pg'
import { clientOptions, type PostgresAddress } from '../kernel/postgres-address.ts'
import { lockKey } from './live-names.ts'
import type { MasterDb } from './master.ts'

/** A running process as the others know it. */
export type NodeFacts = Readonly<{
  id: string
  role: 'all' | 'api' | 'worker'
  version: string
  host: string
  /** False: it opens no tenant connections and has no part in the shares. */
  routes: boolean
}>

/** What a node limits itself to on a cluster now, and how many connections it has there. */
export type ShareClaim = Readonly<{ claim: number; inUse: number }>

/** What else a node says of a cluster, for who looks at all nodes. */
export type ShareNumbers = Readonly<
  Record<'pools' | 'leases' | 'waiters' | 'opening' | 'idle' | 'busy' | 'closing', number>
> &
  Readonly<{ clusterId: string }>

/** What a node may have on a cluster: `target` is its fair part of the whole, `granted` what it can have already. */
export type ShareGrant = Readonly<{
  clusterId: string
  nodes: number
  whole: number
  target: number
  granted: number
}>

/** A node's line to the register of nodes. */
export type NodeLink = {
  /** Renews the lease by `leaseMs` from now on; throws when the master does not answer within a few seconds. */
  renew(claims: ReadonlyMap<string, ShareClaim>): Promise<ShareGrant[]>
  /** Leaves the register, so that others may have the shares at once. Every connection must be closed before. */
  leave(): Promise<void>
}

/** For connecting and for each statement: well below the lease, so that there is time to try again. */
const patienceMs = 1_500

const renewal = `select cluster_id as "clusterId", nodes, whole, target, granted
  from renew_node($1, $2, $3, $4, $5, $6, $7 * interval '1 millisecond', $8)`

/**
 * Opens the line: a connection of its own, so that a node busy with sign-ins does not lose its lease for want of one.
 * It connects when it is needed, and again after any failure. What the node `says` of itself (see live-names.ts) stands
 * for as long as the connection, and is brought up to date with each renewal, as its `numbers` are.
 */
export const openNodeLink = (
  address: PostgresAddress,
  node: NodeFacts,
  leaseMs: number,
  {
    says = () => [],
    numbers = () => [],
  }: { says?: () => readonly string[]; numbers?: () => readonly ShareNumbers[] } = {},
): NodeLink => {
  let client: pg.Client | undefined
  let sent = 0
  /** What this connection has said, as shared locks that end with it. */
  let said: readonly string[] = []
  const connect = async (): Promise<pg.Client> => {
    const fresh = new pg.Client({
      ...clientOptions(address),
      application_name: 'freehold node',
      connectionTimeoutMillis: patienceMs,
      query_timeout: patienceMs,
      statement_timeout: patienceMs,
    })
    fresh.on('error', () => {})
    client = fresh
    said = []
    await fresh.connect()
    return fresh
  }
  const ask = async <R extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<R[]> => {
    try {
      return (await (client ?? (await connect())).query<R>(text, values)).rows
    } catch (error) {
      // Whatever it was, the next one begins anew and waits for nothing that is still under way here.
      client?.connection.stream.destroy()
      client = undefined
      throw error
    }
  }
  const say = async (): Promise<void> => {
    const wanted = says()
    const added = wanted.filter((name) => !said.includes(name)).map(lockKey)
    const taken = said.filter((name) => !wanted.includes(name)).map(lockKey)
    if (added.length > 0)
      await ask('select pg_advisory_lock_shared(key) from unnest($1::bigint[]) key', [added])
    if (taken.length > 0)
      await ask('select pg_advisory_unlock_shared(key) from unnest($1::bigint[]) key', [taken])
    said = wanted
  }
  return {
    renew: async (claims) => {
      if (client === undefined) await connect()
      await say()
      sent += 1
      const { id, role, version, host, routes } = node
      const said = new Map(numbers().map(({ clusterId, ...rest }) => [clusterId, rest]))
      const both = [...claims].map(([clusterId, claim]) => [clusterId, { ...said.get(clusterId), ...claim }])
      const claimed = JSON.stringify(Object.fromEntries(both))
      return ask<ShareGrant>(renewal, [id, role, version, host, routes, sent, leaseMs, claimed])
    },
    leave: async () => {
      try {
        await ask('delete from nodes where id = $1', [node.id])
      } finally {
        await client?.end().catch(() => {})
        client = undefined
      }
    },
  }
}

/** Forgets every node. Only for one that knows it is alone, because it has just started the server the others would need. */
export const forgetNodes = async (db: MasterDb): Promise<void> => {
  await db.deleteFrom('nodes').execute()
}

/** How many connections all nodes may have on a cluster; `perNode` of them each node takes for itself. */
export const setConnectionBudget = async (
  db: MasterDb,
  clusterId: string,
  { budget, perNode }: { budget: number; perNode: number },
): Promise<void> => {
  await db
    .updateTable('clusters')
    .set({ connection_budget: budget, connections_per_node: perNode })
    .where('id', '=', clusterId)
    .where((row) =>
      row.or([row('connection_budget', '<>', budget), row('connections_per_node', '<>', perNode)]),
    )
    .execute()
}

/** Every node and cluster, with what the node may have there and had at its last renewal; oldest node first. */
export const listNodeShares = (db: MasterDb) =>
  db
    .selectFrom('nodes')
    .leftJoin('node_shares', 'node_shares.node_id', 'nodes.id')
    .leftJoin('clusters', 'clusters.id', 'node_shares.cluster_id')
    .select(['nodes.id', 'nodes.role', 'nodes.version', 'nodes.host', 'nodes.routes'])
    .select(['nodes.started_at', 'nodes.heartbeat_at', 'nodes.expires_at'])
    .select([
      'clusters.id as cluster_id',
      'clusters.name as cluster',
      'node_shares.granted',
      'node_shares.in_use',
      'node_shares.pools',
      'node_shares.leases',
      'node_shares.waiters',
      'node_shares.opening',
      'node_shares.idle',
      'node_shares.busy',
      'node_shares.closing',
    ])
    .orderBy('nodes.started_at')
    .orderBy('nodes.id')
    .orderBy('clusters.name')
    .execute()

/** The clusters by name, with the budget that their nodes share. */
export const listClusterBudgets = (db: MasterDb) =>
  db
    .selectFrom('clusters')
    .select(['id', 'name', 'status', 'connection_budget', 'connections_per_node'])
    .orderBy('name')
    .execute()
