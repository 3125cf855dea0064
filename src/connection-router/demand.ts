import type { Permits } from './permits.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'
import { beginTurns, hadItsTurns } from './turns.ts'
import type { WaitQueue } from './waiter.ts'

/** So many connects of one tenant are tried at once before one has succeeded: a database that lets nobody in leaves others theirs. */
const unprovedConnects = 2

/** How many connections the waiting work of a cluster could use, and how long they stay. Opens and closes nothing. */
export class Demand<C extends ServerConnection> {
  readonly #queue: WaitQueue<C>
  readonly #permits: Permits
  readonly #tenantMax: (byPlan: number) => number

  constructor(queue: WaitQueue<C>, permits: Permits, tenantMax: (byPlan: number) => number) {
    this.#queue = queue
    this.#permits = permits
    this.#tenantMax = tenantMax
  }

  /** How many more connections this tenant has a use for and may open now. */
  of(tenantId: string, now: number): number {
    const pool = this.#queue.first(tenantId)?.pool
    if (pool === undefined || (pool.alive && now < pool.retryAt)) return 0
    const unserved = this.#queue.waiting(tenantId) - pool.opening
    const untried = pool.living > pool.opening ? unserved : unprovedConnects - pool.opening
    return Math.max(0, Math.min(unserved, untried, this.#mostOf(pool) - this.#permits.held(tenantId)))
  }

  /** One tenant gets at most three quarters of the budget: whatever it does, others find a connection. */
  #mostOf({ maxConnections }: TenantPool<C>): number {
    return Math.min(this.#tenantMax(maxConnections), Math.max(1, Math.floor(this.#permits.total * 0.75)))
  }

  /** True when one more connection of this pool takes nothing from anybody, as long as a permit is free. */
  maySpare(pool: TenantPool<C>): boolean {
    const serves = pool.alive && !pool.retired && !pool.leaving
    const held = this.#permits.held(pool.tenantId)
    return serves && pool.opening === 0 && this.#queue.size === 0 && held < this.#mostOf(pool)
  }

  /** Connections that must close because there are fewer permits, besides the `closing` ones. */
  excess(closing: number): number {
    return -this.#permits.free - closing
  }

  /** True when this connection is one too many: there are fewer permits than connections, or its tenant may have fewer. */
  isTooMany({ pool }: Slot<C>, closing: number): boolean {
    return this.excess(closing) > 0 || (pool.slots.size > 1 && pool.living > this.#mostOf(pool))
  }

  /** True when waiting tenants could open more than is free or becomes free; `room` is how many may open at once. */
  needsRoom(closing: number, room: number, now: number): boolean {
    const coming = this.#permits.free + closing
    return coming < room && this.exceeds(coming, now)
  }

  /** True when its tenant has had this connection for all its turns and others wait for more than what is `closing`. */
  endsTurn(slot: Slot<C>, closing: number, now: number): boolean {
    return hadItsTurns(slot, now) && this.exceeds(closing, now, slot.pool.tenantId)
  }

  /** Whether this connection stays with its tenant, more of whose work waits: else it is to be closed. Ends and begins its turns. */
  goesOn(slot: Slot<C>, closing: number, now: number): boolean {
    const { tenantId } = slot.pool
    if (!this.endsTurn(slot, closing, now)) return true
    this.#queue.yield(tenantId)
    // It would be closed for its own tenant, which is the next one.
    if (this.#queue.tenants().next().value !== tenantId) return false
    this.#queue.pass(tenantId)
    beginTurns(slot, now)
    return true
  }

  /** True when all tenants (but one) together want more connections than `coming`. */
  exceeds(coming: number, now: number, exceptTenantId?: string): boolean {
    let sum = 0
    for (const tenantId of this.#queue.tenants()) {
      if (tenantId !== exceptTenantId) sum += this.of(tenantId, now)
      if (sum > coming) return true
    }
    return false
  }
}
