import t from 'tap'
import type { KnownPlacement } from '../../src/connection-router/directory.ts'
import type { TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { TenantPools } from '../../src/connection-router/tenant-pools.ts'

const known = (epoch: number, lookup: number): KnownPlacement => ({
  placement: {
    ...{ tenantId: 'a', status: 'active', databaseId: 'd', clusterId: 'main', epoch, credentialVersion: 1 },
    address: { host: '', port: 0, database: '', user: '', password: '', ssl: 'disable' },
  },
  identity: `a/d/${epoch}/1`,
  lookup,
})
const suspended = (lookup: number): KnownPlacement => ({
  placement: { tenantId: 'a', status: 'pending' },
  identity: 'a/pending',
  lookup,
})

t.test('the same identity keeps its pool; another one retires it', async (t) => {
  const retired: TenantPool[] = []
  const pools = new TenantPools((pool) => retired.push(pool))
  const first = pools.current('a', known(1, 1))
  t.equal(pools.current('a', known(1, 2)), first)
  t.not(pools.current('a', known(2, 3)), first)
  t.same(retired, [first])
  t.equal(pools.size, 1)
})

t.test('an older look-up neither brings an old identity back nor retires a newer one', async (t) => {
  const retired: TenantPool[] = []
  const pools = new TenantPools((pool) => retired.push(pool))
  const newer = pools.current('a', known(2, 5))
  t.equal(pools.current('a', known(1, 4)), undefined)
  t.throws(() => pools.current('a', suspended(3)), { code: 'tenant_not_ready' })
  t.equal(retired.length, 0)
  t.equal(pools.current('a', known(2, 6)), newer)
  t.throws(() => pools.current('a', suspended(7)), { code: 'tenant_not_ready' })
  t.same(retired, [newer])
})

t.test('a pool that is leased is not forgotten', async (t) => {
  const pools = new TenantPools(() => {})
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  t.equal(pools.forget(pool), false)
  pool.leases = 0
  t.equal(pools.forget(pool), true)
  t.equal(pools.forget(pool), false)
})
