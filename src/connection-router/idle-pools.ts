import { Residents } from './residents.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'
import { beginTurns, hadItsTurns } from './turns.ts'

/**
 * Uses of a tenant closer together than a connect takes count as one: kept open or not, they would have shared one
 * connect. Milliseconds.
 */
const oneUseMs = 5

/** The idle connections of a cluster, and which of them should be given up first. */
export class IdlePools<C extends ServerConnection> {
  /** Pools with an idle connection; the one used least recently first. */
  readonly #pools = new Set<TenantPool<C>>()
  /** Pools with a connection that was idle once, whether it is now or not. */
  readonly #residents: Residents<TenantPool<C>>
  readonly #pauseOver: () => void

  /** `pauseOver` is called when a connection that was spared can be given up. */
  constructor(permits: number, random: () => number, pauseOver: () => void) {
    this.#pauseOver = pauseOver
    this.#residents = new Residents(permits, Math.floor(random() * 2 ** 32))
  }

  get size(): number {
    return this.#pools.size
  }

  setPermits(permits: number): void {
    this.#residents.setPlaces(permits)
  }

  /** Somebody wants to use this pool: with or without a connection, it counts. `now` in milliseconds. */
  used(pool: TenantPool<C>, now: number): void {
    if (now - pool.countedAt < oneUseMs) return
    pool.countedAt = now
    this.#residents.record(pool.tenantId)
  }

  /** A connection of this pool begins to close, or has ended. */
  closing(pool: TenantPool<C>): void {
    if (!pool.alive) this.#residents.delete(pool)
  }

  /** The pool's most recently used idle connection, busy from now on: the older ones may go to sleep. */
  take(pool: TenantPool<C>, now: number): Slot<C> | undefined {
    const slot = pool.idle.pop()
    if (slot === undefined) return undefined
    if (pool.idle.length === 0) this.#pools.delete(pool)
    slot.state = 'busy'
    if (slot.pausing) slot.pausing = false
    else beginTurns(slot, now)
    return slot
  }

  /**
   * Adds a connection, idle since `now` (milliseconds); its pool is now the most recently used. While others wait and its
   * turns are not over it is spared for the rest of the event loop's turn: whoever was just answered may have more to ask.
   */
  put(slot: Slot<C>, now: number, othersWait: boolean): void {
    slot.state = 'idle'
    slot.idleSince = now
    if (othersWait && !hadItsTurns(slot, now)) this.#pause(slot)
    slot.pool.idle.push(slot)
    this.#pools.delete(slot.pool)
    this.#pools.add(slot.pool)
    this.#residents.touch(slot.pool)
  }

  #pause(slot: Slot<C>): void {
    slot.pausing = true
    setImmediate(() => {
      if (!slot.pausing) return
      slot.pausing = false
      this.#pauseOver()
    })
  }

  remove(slot: Slot<C>): void {
    const { pool } = slot
    slot.pausing = false
    const at = pool.idle.indexOf(slot)
    if (at !== -1) pool.idle.splice(at, 1)
    if (pool.idle.length === 0) this.#pools.delete(pool)
  }

  /**
   * The one to close when a permit is needed, of a tenant that nobody leases if there is any: the longest-idle
   * connection of the least recently used tenant that has another one; else the only one of a tenant that
   * `Residents` would give up. A pool with idle connections has no waiting work. None that pauses, unless `evenPausing`.
   */
  victim(evenPausing: boolean): Slot<C> | undefined {
    const of = ({ idle }: TenantPool<C>): Slot<C> | undefined =>
      evenPausing ? idle[0] : idle.find(({ pausing }) => !pausing)
    return this.#victim((pool) => (pool.leases === 0 ? of(pool) : undefined)) ?? this.#victim(of)
  }

  #victim(of: (pool: TenantPool<C>) => Slot<C> | undefined): Slot<C> | undefined {
    for (const pool of this.#pools) {
      const slot = pool.living > 1 ? of(pool) : undefined
      if (slot !== undefined) return slot
    }
    const pool = this.#residents.victim((resident) => of(resident) !== undefined)
    return pool && of(pool)
  }

  /** Those idle since `time` (milliseconds) or longer. */
  since(time: number): Slot<C>[] {
    return [...this.#pools].flatMap((pool) => pool.idle.filter((slot) => slot.idleSince <= time))
  }
}
