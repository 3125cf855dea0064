import pg from 'pg'
import Pool from 'pg-pool'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'

type Entry = { readonly pool: Pool<pg.Client>; users: number }

/** A pool of each tenant lately used, the least recently used one closed first, as one would write it in an afternoon. */
export type TenantPools = Readonly<{
  use<T>(tenant: number, work: (pool: Pool<pg.Client>) => Promise<T>): Promise<T>
  close(): Promise<void>
}>

/** `pools` at most at a time, each with `size` connections at most. A pool in use is never closed. */
export const createTenantPools = (
  addresses: readonly PostgresAddress[],
  { pools, size }: { pools: number; size: number },
): TenantPools => {
  /** The least recently used first. */
  const entries = new Map<number, Entry>()
  const waiting: (() => void)[] = []

  const evict = (): boolean => {
    for (const [tenant, { pool, users }] of entries) {
      if (users > 0) continue
      entries.delete(tenant)
      pool.end().catch(() => {})
      return true
    }
    return false
  }

  const enter = async (tenant: number): Promise<Entry> => {
    for (;;) {
      const known = entries.get(tenant)
      if (known !== undefined) {
        entries.delete(tenant)
        entries.set(tenant, known)
        return known
      }
      if (entries.size < pools || evict()) break
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    const address = addresses[tenant]
    if (address === undefined) throw new Error('there is no such tenant')
    const entry = { pool: new Pool({ ...clientOptions(address), Client: pg.Client, max: size }), users: 0 }
    entries.set(tenant, entry)
    return entry
  }

  return {
    use: async (tenant, work) => {
      const entry = await enter(tenant)
      entry.users += 1
      try {
        return await work(entry.pool)
      } finally {
        entry.users -= 1
        waiting.shift()?.()
      }
    },
    close: async () => {
      await Promise.all([...entries.values()].map(({ pool }) => pool.end()))
    },
  }
}
