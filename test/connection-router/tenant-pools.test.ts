import t from 'tap'
import type { KnownPlacement } from '../../src/connection-router/directory.ts'
import type { ServerConnection, TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { TenantPools } from '../../src/connection-router/tenant-pools.ts'
import type { AppError } from '../../src/kernel/errors.ts'

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

const newPools = (onRetire: (pool: TenantPool) => void = () => {}): TenantPools<ServerConnection> =>
  new TenantPools({ graceMs: 60_000, onRetire, onDeadline: () => {} })

/** Pools whose deadline comes at once, and those that it has come for. */
const newHastyPools = (): { pools: TenantPools<ServerConnection>; ended: [TenantPool, string][] } => {
  const ended: [TenantPool, string][] = []
  const onDeadline = (pool: TenantPool, { code }: AppError): void => void ended.push([pool, code])
  return { pools: new TenantPools({ graceMs: 1, onRetire: () => {}, onDeadline }), ended }
}
const deadline = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20))

t.test('the same identity keeps its pool; another one retires it', async (t) => {
  const retired: TenantPool[] = []
  const pools = newPools((pool) => retired.push(pool))
  const first = pools.current('a', known(1, 1))
  t.equal(pools.current('a', known(1, 2)), first)
  t.not(pools.current('a', known(2, 3)), first)
  t.same(retired, [first])
  t.equal([...pools.all()].length, 1)
})

t.test('an older look-up neither brings an old identity back nor retires a newer one', async (t) => {
  const retired: TenantPool[] = []
  const pools = newPools((pool) => retired.push(pool))
  const newer = pools.current('a', known(2, 5))
  t.equal(pools.current('a', known(1, 4)), undefined)
  t.throws(() => pools.current('a', suspended(3)), { code: 'tenant_not_ready' })
  t.equal(retired.length, 0)
  t.equal(pools.current('a', known(2, 6)), newer)
  t.throws(() => pools.current('a', suspended(7)), { code: 'tenant_not_ready' })
  t.same(retired, [newer])
})

t.test('a pool that is leased is not forgotten', async (t) => {
  const pools = newPools()
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  t.equal(pools.forget(pool), false)
  pool.leases = 0
  t.equal(pools.forget(pool), true)
  t.equal(pools.forget(pool), false)
})

t.test('who held the pool of a refused tenant goes on with it, and nobody else', async (t) => {
  const retired: TenantPool[] = []
  const pools = newPools((pool) => retired.push(pool))
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  t.equal(pools.current('a', suspended(2), pool), pool)
  t.throws(() => pools.current('a', suspended(2)), { code: 'tenant_not_ready' })
  t.equal(retired.length, 0)
  pool.leases = 0
  pools.forget(pool)
  t.same(retired, [pool], 'the last one has finished')
  t.throws(() => pools.current('a', suspended(2), pool), { code: 'tenant_not_ready' })
})

t.test('a tenant that is resumed in time keeps its pool, by a newer look-up only', async (t) => {
  const pools = newPools()
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  t.equal(pools.current('a', suspended(3), pool), pool)
  t.equal(pools.current('a', known(1, 2)), undefined, 'an older look-up')
  t.equal(pool.leaving, true)
  t.equal(pools.current('a', known(1, 4)), pool)
  t.equal(pool.leaving, false)
})

t.test('at the deadline what is left is ended, with the reason', async (t) => {
  const { pools, ended } = newHastyPools()
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  pools.current('a', suspended(2), pool)
  await deadline()
  t.same(ended, [[pool, 'tenant_not_ready']])
  t.throws(() => pools.current('a', suspended(2), pool), { code: 'tenant_not_ready' })
  const old = pools.current('a', known(1, 3))
  pools.current('a', known(2, 4))
  await deadline()
  t.same(ended.slice(1), [[old, 'tenant_moving']])
})

t.test('no deadline comes for a tenant that is resumed in time', async (t) => {
  const { pools, ended } = newHastyPools()
  const pool = pools.current('a', known(1, 1))
  if (pool === undefined) throw new Error('no pool')
  pool.leases = 1
  pools.current('a', suspended(2), pool)
  pools.current('a', known(1, 3))
  await deadline()
  t.same(ended, [])
  t.equal(pools.current('a', known(1, 3)), pool)
})
