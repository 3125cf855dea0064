import t from 'tap'
import type { ClusterStats, RouterStats } from '../../../src/connection-router/stats.ts'
import { makePlatformAdmin, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'

const postgres = await startTestPostgres(t, 'furnished')
const env = { CONNECTION_BUDGET: '30' }
const { call, service, signUp, newTenant } = await startNode(t, postgres, env)

const platformAdmin = async (): Promise<string> => {
  const { token, personId } = await signUp()
  await makePlatformAdmin(service, personId)
  return token
}

t.test('platform admins see budgets, shares and what this node does with its own', async (t) => {
  const { token, tenantId } = await newTenant()
  await call('GET', '/api/projects', { token })
  const lease = await service.router.lease(tenantId)
  const answer = await call('GET', '/platform/router', { token: await platformAdmin() })
  lease.release()
  t.equal(answer.status, 200, answer.text)
  t.match(answer.body, {
    node: service.nodeId,
    pools: 1,
    leases: 1,
    waiters: 0,
    opens: Number,
    clusters: [
      {
        name: 'default',
        status: 'open',
        whole: 30,
        granted: 30,
        here: { share: 30, used: 1, pools: 1, leases: 1, idle: 1, busy: 0, waiters: 0, breaker: 'closed' },
        shares: [{ node: service.nodeId, granted: 30 }],
      },
    ],
    nodes: [{ id: service.nodeId, role: 'all', routes: true, version: String, host: String }],
  })
  t.notMatch(answer.text, /password|t_[a-z2-7]{26}/)
})

t.test('of every other node they see what it said at its last heartbeat', async (t) => {
  const there = await startNode(t, postgres, env)
  const [{ token, tenantId }, admin] = [await newTenant(), await platformAdmin()]
  await call('GET', '/api/projects', { token })
  await there.call('GET', '/api/projects', { token })
  const lease = await there.service.router.lease(tenantId)
  t.teardown(() => lease.release())
  const [nodeId, one] = [there.service.nodeId, { pools: 1, leases: 1, waiters: 0 }]
  type Seen = { node: string; id: string; pools: number; leases: number }
  const seen = async () => {
    const { body } = await call('GET', '/platform/router', { token: admin })
    const { clusters, nodes } = body as unknown as { clusters: (Seen & { shares: Seen[] })[]; nodes: Seen[] }
    const [cluster] = clusters
    const share = cluster?.shares.find(({ node }) => node === nodeId)
    return { cluster, share, node: nodes.find(({ id }) => id === nodeId) }
  }
  await until(async () => (await seen()).share?.leases === 1)
  const { cluster, share, node } = await seen()
  t.match(share, { ...one, granted: 15, inUse: 1, opening: 0, idle: 1, busy: 0, closing: 0 })
  t.match(node, one)
  const own = cluster?.shares.find((other) => other.node === service.nodeId)
  t.equal(cluster?.pools, 1 + (own?.pools ?? Number.NaN), 'all nodes together')
  t.equal(cluster?.leases, 1)
})

t.test('a tenant Admin is not allowed, nobody is not signed in', async (t) => {
  const { token } = await newTenant()
  t.match((await call('GET', '/platform/router', { token })).body, { status: 403, code: 'forbidden' })
  t.match((await call('GET', '/platform/router')).body, { status: 401, code: 'unauthenticated' })
})

const numbers = {
  opens: 'freehold_router_connections_opened_total',
  openFailures: 'freehold_router_connection_failures_total',
  evictions: 'freehold_router_pool_evictions_total',
  steals: 'freehold_router_permit_steals_total',
  yields: 'freehold_router_yields_total',
  timeouts: 'freehold_router_wait_timeouts_total',
  hopeless: 'freehold_router_waits_refused_total',
  spoiled: 'freehold_router_connections_spoiled_total',
  mismatches: 'freehold_router_wrong_database_total',
  overdueLeases: 'freehold_router_overdue_leases_total',
  headOfLine: 'freehold_router_head_of_line_total',
  retries: 'freehold_router_read_retries_total',
  cancels: 'freehold_router_cancels_total',
  halfOpen: 'freehold_router_half_open_total',
} satisfies Record<Exclude<keyof RouterStats, 'clusters' | 'pools' | 'leases' | 'waiters' | 'waits'>, string>

const numbersOfClusters = {
  pools: 'freehold_router_pools',
  leases: 'freehold_router_leases',
  permitsTotal: 'freehold_router_permits',
  permitsUsed: 'freehold_router_permits_used',
  waiters: 'freehold_router_waiters',
  opening: 'freehold_router_connections_opening',
  idle: 'freehold_router_connections_idle',
  busy: 'freehold_router_connections_busy',
  closing: 'freehold_router_connections_closing',
  shared: 'freehold_router_connections_shared',
  inFlight: 'freehold_router_statements_in_flight',
  named: 'freehold_router_named_statements',
} satisfies Record<Exclude<keyof ClusterStats, 'clusterId' | 'breaker'>, string>

const keysOf = <K extends string>(names: Record<K, string>) => Object.entries(names) as [K, string][]

/** The same as they are, with another value of each number. */
const allDifferent = (stats: RouterStats): RouterStats => {
  let last = 100
  return JSON.parse(JSON.stringify(stats), (_, value) => (typeof value === 'number' ? ++last : value))
}

/** A histogram's lines: how many waited at most so many seconds, how many in all, and how long together. */
const waitLines = ({ boundsMs, counts, sumMs }: RouterStats['waits']): [string, number][] => {
  const upTo = (n: number): number => counts.slice(0, n).reduce((sum, count) => sum + count, 0)
  const name = 'freehold_router_wait_seconds'
  return [
    ...boundsMs.map((ms, i): [string, number] => [`${name}_bucket{le="${ms / 1_000}"}`, upTo(i + 1)]),
    [`${name}_bucket{le="+Inf"}`, upTo(counts.length)],
    [`${name}_sum`, sumMs / 1_000],
    [`${name}_count`, upTo(counts.length)],
  ]
}

const metricLines = (stats: RouterStats): [string, number][] => [
  ...keysOf(numbers).map(([key, name]): [string, number] => [name, stats[key]]),
  ...stats.clusters.flatMap((cluster) => {
    const of = `{cluster="${cluster.clusterId}"}`
    return [
      ...keysOf(numbersOfClusters).map(([key, name]): [string, number] => [name + of, cluster[key]]),
      [`freehold_router_breaker_open${of}`, cluster.breaker === 'closed' ? 0 : 1] as [string, number],
    ]
  }),
  ...waitLines(stats.waits),
]

t.test('the same numbers are metrics, each under its name', async (t) => {
  const [here] = service.router.stats().clusters
  if (here === undefined) return t.fail('no cluster is used')
  const away: ClusterStats = { ...here, clusterId: 'away', breaker: 'open' }
  const stats = allDifferent({ ...service.router.stats(), clusters: [here, away] })
  const shown = t.capture(service.router, 'stats', () => stats)
  const { text } = await call('GET', '/metrics').finally(shown.restore)
  const lines = text.split('\n').filter((line) => line.startsWith('freehold_router_'))
  const found = lines.map((line) => [line.replace(/ \S+$/, ''), Number(line.split(' ').at(-1))])
  const budget = [`freehold_router_budget{cluster="${here.clusterId}"}`, 30]
  t.strictSame(Object.fromEntries(found), Object.fromEntries([...metricLines(stats), budget]))
})
