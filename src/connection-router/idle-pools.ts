import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'

/** The idle connections of a cluster, in the order in which they should be given up. */
export class IdlePools<C extends ServerConnection> {
  /** Pools with an idle connection; the one used least recently first. */
  readonly #pools = new Set<TenantPool<C>>()

  get size(): number {
    return this.#pools.size
  }

  /** The pool's most recently used idle connection: the older ones may go to sleep. */
  take(pool: TenantPool<C>): Slot<C> | undefined {
    const slot = pool.idle.pop()
    if (slot !== undefined && pool.idle.length === 0) this.#pools.delete(pool)
    return slot
  }

  /** Adds a connection; its pool is now the most recently used. */
  put(slot: Slot<C>): void {
    slot.pool.idle.push(slot)
    this.#pools.delete(slot.pool)
    this.#pools.add(slot.pool)
  }

  remove(slot: Slot<C>): void {
    const { pool } = slot
    const at = pool.idle.indexOf(slot)
    if (at !== -1) pool.idle.splice(at, 1)
    if (pool.idle.length === 0) this.#pools.delete(pool)
  }

  /**
   * The one to close when a permit is needed: the longest-idle connection of the least recently used pool, of one
   * that nobody leases if there is any. A pool with idle connections has no waiting work.
   */
  victim(): Slot<C> | undefined {
    let leased: Slot<C> | undefined
    for (const pool of this.#pools) {
      if (pool.leases === 0) return pool.idle[0]
      leased ??= pool.idle[0]
    }
    return leased
  }

  /** Those idle since `time` (milliseconds) or longer. */
  since(time: number): Slot<C>[] {
    return [...this.#pools].flatMap((pool) => pool.idle.filter((slot) => slot.idleSince <= time))
  }
}
