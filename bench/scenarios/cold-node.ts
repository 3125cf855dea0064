/** A node without HTTP, for cold-storm.ts: asks for tenants through its router, or connects to them bare. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ConnectionRouter } from '../../src/connection-router/connection-router.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { createNodeShares } from '../../src/node-shares.ts'

/** A tenant as the master knows it. */
export type ColdTenant = Readonly<{ tenantId: string; clusterId: string; address: PostgresAddress }>

export type ColdOrder =
  | Readonly<{ way: 'router'; master: PostgresAddress; tenants: readonly ColdTenant[]; nodes: number }>
  | Readonly<{ way: 'bare'; tenants: readonly ColdTenant[]; atOnce: number }>

/** What it came to: how long the whole took, and each request, in milliseconds; errors by their code. */
export type ColdResult = Readonly<{
  tookMs: number
  times: readonly number[]
  errors: Record<string, number>
}>

const question = 'select 1 as one'

const timed = async (work: () => Promise<void>, times: number[], errors: Record<string, number>) => {
  const begin = performance.now()
  try {
    await work()
    times.push(performance.now() - begin)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    const what = code ?? message
    errors[what] = (errors[what] ?? 0) + 1
  }
}

const measure = async (storm: (run: (work: () => Promise<void>) => Promise<void>) => Promise<unknown>) => {
  const [times, errors]: [number[], Record<string, number>] = [[], {}]
  const begin = performance.now()
  await storm((work) => timed(work, times, errors))
  return { tookMs: performance.now() - begin, times, errors }
}

/** `atOnce` connections at a time, each asked once and closed. */
const bare = ({ tenants, atOnce }: { tenants: readonly ColdTenant[]; atOnce: number }): Promise<ColdResult> =>
  measure((run) => {
    const waiting = [...tenants]
    const lane = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const client = new pg.Client(clientOptions(next.address))
        await run(async () => {
          await client.connect()
          await client.query(question)
          await client.end()
        })
      }
    }
    return Promise.all(Array.from({ length: atOnce }, lane))
  })

const openRouter = async (master: PostgresAddress, tenants: readonly ColdTenant[], nodes: number) => {
  const known = new Map(tenants.map((tenant) => [tenant.tenantId, tenant]))
  const log = createLogger('warn')
  const id = newId()
  const shares = createNodeShares({ id, config: { role: 'api' }, master, log, router: () => router })
  const router = new ConnectionRouter<Record<never, never>>({
    findTenant: async (tenantId) => {
      const tenant = known.get(tenantId)
      return tenant && { ...tenant, status: 'active', databaseId: tenantId, epoch: 1, credentialVersion: 1 }
    },
    budget: (clusterId) => shares.shareOf(clusterId),
    mayOpen: () => shares.holds,
    tenantMaxConnections: 4,
    // Two thousand connects take longer than the 5 s that a request waits by default; this is about the work, not the patience.
    acquireTimeoutMs: 60_000,
    log,
  })
  await shares.open()
  const settled = (): boolean =>
    shares.grants().length > 0 &&
    shares.grants().every(({ whole, granted }) => granted === Math.floor(whole / nodes))
  while (!settled()) await sleep(20)
  return { router, shares }
}

process.once('message', async (order: ColdOrder) => {
  const opened =
    order.way === 'router' ? await openRouter(order.master, order.tenants, order.nodes) : undefined
  process.once('message', async () => {
    const result =
      order.way === 'bare'
        ? await bare(order)
        : await measure((run) =>
            Promise.all(
              order.tenants.map(({ tenantId }) =>
                run(async () => {
                  await opened?.router.use(tenantId, (db) =>
                    db.selectNoFrom((e) => e.lit(1).as('one')).execute(),
                  )
                }),
              ),
            ),
          )
    process.send?.(result)
    await once(process, 'message')
    await opened?.router.close()
    await opened?.shares.close()
    process.disconnect()
  })
  process.send?.('ready')
})
