import { AppError } from '../kernel/errors.ts'
import type { KnownPlacement } from './directory.ts'
import { refusal } from './directory.ts'
import { type ServerConnection, TenantPool } from './tenant-pool.ts'

export type TenantPoolsOptions<C extends ServerConnection> = Readonly<{
  /** How long running handlers may go on with a pool that nobody new may use. Milliseconds. */
  graceMs: number
  /** The pool serves nobody any more: idle connections close now, others as they come back. */
  onRetire: (pool: TenantPool<C>) => void
  /** What still runs on this retired pool shall end now, with this error. */
  onDeadline: (pool: TenantPool<C>, reason: AppError) => void
}>

const movedMeanwhile = (): AppError =>
  new AppError('tenant_moving', 'The tenant has got another database meanwhile; try again.')

/**
 * The current pool of each tenant that is in use: at most one, with the identity that the newest look-up gave. Its
 * size is bounded by the budgets and the leases, because a pool with nothing open and no lease is forgotten.
 *
 * When a tenant is refused, handlers that are running go on with its pool; when it gets another identity, statements and
 * transactions that are running do. A deadline later both are ended.
 */
export class TenantPools<C extends ServerConnection> {
  readonly #pools = new Map<string, TenantPool<C>>()
  readonly #options: TenantPoolsOptions<C>

  constructor(options: TenantPoolsOptions<C>) {
    this.#options = options
  }

  all(): Iterable<TenantPool<C>> {
    return this.#pools.values()
  }

  has(tenantId: string): boolean {
    return this.#pools.has(tenantId)
  }

  /**
   * The pool for what a look-up found; a pool of another identity is retired. Undefined when a later look-up has
   * found something else already: look up again. Throws the refusal when the tenant may not be used, unless the caller
   * `held` the pool before that and the deadline is not over.
   */
  current(
    tenantId: string,
    known: KnownPlacement | undefined,
    held?: TenantPool<C>,
  ): TenantPool<C> | undefined {
    const pool = this.#pools.get(tenantId)
    const refused = refusal(known)
    if (refused !== undefined) {
      if (pool !== undefined) this.#refuse(pool, known?.lookup ?? pool.lookup, refused)
      if (pool !== undefined && pool === held && pool.leaving) return pool
      throw refused
    }
    if (known === undefined) return undefined
    if (pool?.identity === known.identity) {
      if (pool.leaving && known.lookup < pool.lookup) return undefined
      pool.confirm(known)
      if (pool.leaving) this.#stay(pool)
      return pool
    }
    if (pool !== undefined) {
      if (known.lookup < pool.lookup) return undefined
      this.#leave(pool, movedMeanwhile())
      this.#retire(pool)
    }
    const fresh = new TenantPool<C>(known)
    this.#pools.set(tenantId, fresh)
    return fresh
  }

  /** Forgets a pool that nobody holds and that has nothing open. True when it did. */
  forget(pool: TenantPool<C>): boolean {
    if (this.#pools.get(pool.tenantId) !== pool) return false
    if (pool.leaving && pool.leases === 0) {
      this.#retire(pool)
      return false
    }
    return pool.empty && this.#pools.delete(pool.tenantId)
  }

  #refuse(pool: TenantPool<C>, lookup: number, reason: AppError): void {
    if (lookup < pool.lookup) return
    pool.lookup = lookup
    this.#leave(pool, reason)
    if (pool.leases === 0) this.#retire(pool)
  }

  #leave(pool: TenantPool<C>, reason: AppError): void {
    const { graceMs, onDeadline } = this.#options
    const end = (): void => {
      this.#retire(pool)
      onDeadline(pool, reason)
    }
    pool.deadline ??= setTimeout(end, graceMs).unref()
  }

  #stay(pool: TenantPool<C>): void {
    clearTimeout(pool.deadline)
    pool.deadline = undefined
  }

  #retire(pool: TenantPool<C>): void {
    if (this.#pools.get(pool.tenantId) !== pool) return
    this.#pools.delete(pool.tenantId)
    this.#options.onRetire(pool)
  }
}
