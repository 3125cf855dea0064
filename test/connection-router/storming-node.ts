import { ConnectionRouter } from '../../src/connection-router/connection-router.ts'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import type { ShareLease } from '../../src/connection-router/share-lease.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { createNodeShares } from '../../src/node-shares.ts'

/** What a storming node is told at its start. */
export type StormOrder = {
  id: string
  master: PostgresAddress
  leaseMs: number
  tenants: PlacedTenant[]
  /** How many requests it has at once. */
  requests: number
  /** One statement for so long, beside the storm; seconds. */
  sleep?: number
}

/** What it answers to `stats`. */
export type StormStats = { used: number; opens: number; served: number }

type Word = 'stats' | 'stop'

/** A process of its own with a router and a lease on its share, that never stops asking for tenants at random. */
const storm = async (order: StormOrder): Promise<void> => {
  const log = createLogger('silent')
  const tenants = new Map(order.tenants.map((tenant) => [tenant.tenantId, tenant]))
  const shares: ShareLease = createNodeShares({
    ...{ id: order.id, master: order.master, leaseMs: order.leaseMs, log },
    config: { role: 'api' },
    router: () => router,
  })
  const router = new ConnectionRouter<{ canary: { id: string; word: string } }>({
    findTenant: async (tenantId) => tenants.get(tenantId),
    budget: (clusterId) => shares.shareOf(clusterId),
    mayOpen: () => shares.holds,
    tenantMaxConnections: 4,
    acquireTimeoutMs: 500,
    log,
  })
  await shares.open()
  const ids = [...tenants.keys()]
  let [going, served] = [true, 0]
  const request = async (): Promise<void> => {
    while (going) {
      const tenantId = ids[Math.floor(Math.random() * ids.length)] ?? ''
      await router
        .use(tenantId, async (db) => {
          const row = await db.selectFrom('canary').selectAll().executeTakeFirstOrThrow()
          if (row.word !== tenantId) process.exit(3)
          served += 1
        })
        .catch(() => new Promise((resolve) => setTimeout(resolve, 5)))
    }
  }
  const requests = Array.from({ length: order.requests }, request)
  const { sleep } = order
  if (sleep !== undefined) {
    const { sql } = await import('kysely')
    router.use(ids[0] ?? '', (db) => sql`select pg_sleep(${sleep})`.execute(db)).catch(() => {})
  }
  process.on('message', async (word: Word) => {
    if (word === 'stats') {
      const { opens } = router.stats()
      const used = router.stats().clusters.reduce((sum, cluster) => sum + cluster.permitsUsed, 0)
      process.send?.({ used, opens, served } satisfies StormStats)
      return
    }
    going = false
    await Promise.all(requests)
    await router.close()
    await shares.close()
    process.exit(0)
  })
  process.send?.('storming')
}

process.once('message', (order: StormOrder) => void storm(order))
