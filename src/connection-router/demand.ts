import type { Permits } from './permits.ts'
import type { ServerConnection } from './tenant-pool.ts'
import type { WaitQueue } from './waiter.ts'

/** How many connections the waiting work of a cluster could use. Decides nothing and changes nothing. */
export class Demand<C extends ServerConnection> {
  readonly #queue: WaitQueue<C>
  readonly #permits: Permits
  readonly #tenantMax: number

  /** One tenant gets at most three quarters of the budget: whatever it does, others find a connection. */
  constructor(queue: WaitQueue<C>, permits: Permits, tenantMaxConnections: number) {
    this.#queue = queue
    this.#permits = permits
    this.#tenantMax = Math.min(tenantMaxConnections, Math.max(1, Math.floor(permits.total * 0.75)))
  }

  /** How many more connections this tenant has a use for and may open now. */
  of(tenantId: string, now: number): number {
    const pool = this.#queue.first(tenantId)?.pool
    if (pool === undefined || (pool.alive && now < pool.retryAt)) return 0
    const unserved = this.#queue.waiting(tenantId) - pool.opening
    return Math.max(0, Math.min(unserved, this.#tenantMax - this.#permits.held(tenantId)))
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
