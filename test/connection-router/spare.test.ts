import t from 'tap'
import { Demand } from '../../src/connection-router/demand.ts'
import { Permits } from '../../src/connection-router/permits.ts'
import { type Slot, TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { newWaitQueue } from '../../src/connection-router/waiter.ts'

/** When a connection may be opened that nobody waits for: it must take nothing from anybody. */

const address = { host: '', port: 1, database: 'd', user: 'd', password: '', ssl: 'disable' } as const
const placement = { tenantId: 'a', status: 'active', databaseId: 'd', clusterId: 'main', epoch: 1 } as const

/** A tenant with one open connection out of two that it may have. */
const scene = () => {
  const pool = new TenantPool({
    placement: { ...placement, credentialVersion: 1, address },
    identity: 'a',
    lookup: 1,
  })
  pool.slots.add({ state: 'busy' } as Slot)
  const [queue, permits] = [newWaitQueue(), new Permits(8)]
  permits.take('a')
  return { pool, queue, permits, demand: new Demand(queue, permits, () => 2) }
}
type Scene = ReturnType<typeof scene>

t.test('a tenant with a connection may have one more', async (t) => {
  const { demand, pool } = scene()
  t.ok(demand.maySpare(pool))
})

const reasons: Record<string, (scene: Scene) => void> = {
  'it has its maximum': ({ permits }) => void permits.take('a'),
  'anybody waits': ({ queue, pool }) =>
    void queue.push('b', { pool, since: 0, give: () => {}, refuse: () => {} }),
  'one is being opened': ({ pool }) => {
    pool.opening = 1
  },
  'its pool is retired': ({ pool }) => {
    pool.retired = true
  },
  'nobody new may use it': ({ pool }) => {
    pool.deadline = setTimeout(() => {}, 0)
  },
  'it has no connection any more, and may be forgotten': ({ pool }) => pool.slots.clear(),
}

for (const [why, make] of Object.entries(reasons)) {
  t.test(`not when ${why}`, async (t) => {
    const all = scene()
    make(all)
    t.notOk(all.demand.maySpare(all.pool))
  })
}
