import type { KnownPlacement } from './directory.ts'
import { refusal } from './directory.ts'
import { type ServerConnection, TenantPool } from './tenant-pool.ts'

/**
 * The current pool of each tenant that is in use: at most one, with the identity that the newest look-up gave. Its
 * size is bounded by the budgets and the leases, because a pool with nothing open and no lease is forgotten.
 */
export class TenantPools<C extends ServerConnection> {
  readonly #pools = new Map<string, TenantPool<C>>()
  readonly #onRetire: (pool: TenantPool<C>) => void

  constructor(onRetire: (pool: TenantPool<C>) => void) {
    this.#onRetire = onRetire
  }

  get size(): number {
    return this.#pools.size
  }

  has(tenantId: string): boolean {
    return this.#pools.has(tenantId)
  }

  /**
   * The pool for what a look-up found; a pool of another identity is retired. Undefined when a later look-up has
   * found another identity already: look up again. Throws the refusal when the tenant may not be used.
   */
  current(tenantId: string, known: KnownPlacement | undefined): TenantPool<C> | undefined {
    const pool = this.#pools.get(tenantId)
    const refused = refusal(known)
    if (refused !== undefined || known === undefined) {
      if (pool !== undefined && (known === undefined || known.lookup >= pool.lookup)) this.#retire(pool)
      throw refused
    }
    if (pool?.identity === known.identity) {
      pool.confirm(known)
      return pool
    }
    if (pool !== undefined) {
      if (known.lookup < pool.lookup) return undefined
      this.#retire(pool)
    }
    const fresh = new TenantPool<C>(known)
    this.#pools.set(tenantId, fresh)
    return fresh
  }

  /** Forgets a pool that nobody holds and that has nothing open. True when it did. */
  forget(pool: TenantPool<C>): boolean {
    if (!pool.empty || this.#pools.get(pool.tenantId) !== pool) return false
    return this.#pools.delete(pool.tenantId)
  }

  #retire(pool: TenantPool<C>): void {
    this.#pools.delete(pool.tenantId)
    this.#onRetire(pool)
  }
}
