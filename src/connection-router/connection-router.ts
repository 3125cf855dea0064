import { millisecondsOf } from '../kernel/clock.ts'
import { ClusterBudget } from './cluster-budget.ts'
import { overloaded } from './connect-errors.ts'
import { connector } from './connector.ts'
import { Directory, type Patience } from './directory.ts'
import { headStart } from './head-start.ts'
import { type Lease, LeaseHold, type LeaseOptions, type LeaseOwner, leaseOf } from './lease.ts'
import { LeaseBook } from './lease-book.ts'
import { ReadySockets } from './ready-sockets.ts'
import { type ConnectionRouterOptions, routerDefaults } from './router-options.ts'
import { sessionQuestion } from './session-question.ts'
import { signalsOf } from './signals.ts'
import { StatementTexts } from './statement-texts.ts'
import { countByCluster, RouterCounters, type RouterStats, routerStats } from './stats.ts'
import type { TenantConnection } from './tenant-connection.ts'
import type { TenantDb } from './tenant-db.ts'
import type { TenantPool } from './tenant-pool.ts'
import { TenantPools } from './tenant-pools.ts'
import { PoolRetired, type WaitLimits } from './waiter.ts'
import type { Statement } from './wire/statement.ts'
import { Watch } from './wire/watch.ts'

export type { Lease, LeaseOptions } from './lease.ts'
export type { ConnectionRouterOptions } from './router-options.ts'
export type { LazySignal } from './signals.ts'

/** Bounds the retries of someone whose tenant changes its identity again and again. */
const maxLookups = 10

/** The only code that turns a tenant id into a connection. See the README for what it promises. */
export class ConnectionRouter<Schema> {
  readonly #options: ConnectionRouterOptions & typeof routerDefaults
  readonly #counters = new RouterCounters()
  readonly #directory: Directory
  readonly #pools: TenantPools<TenantConnection>
  readonly #clusters = new Map<string, ClusterBudget<TenantConnection>>()
  readonly #leases: LeaseBook
  readonly #owner: LeaseOwner
  readonly #watch = new Watch()
  readonly #sockets = new ReadySockets()
  readonly #housekeeping: NodeJS.Timeout
  readonly #now: () => number
  #closing: Promise<void> | undefined

  constructor(options: ConnectionRouterOptions) {
    this.#options = { ...routerDefaults, ...options }
    this.#now = millisecondsOf(this.#options.clock)
    const { findTenant, isFresh, acquireTimeoutMs, idleTimeoutMs, leaseWarnMs } = this.#options
    this.#leases = new LeaseBook({ leaseWarnMs, log: this.#options.log, counters: this.#counters })
    this.#directory = new Directory({ findTenant, isFresh, timeoutMs: acquireTimeoutMs })
    this.#pools = new TenantPools({
      graceMs: this.#options.graceMs,
      onRetire: (pool) => {
        this.#counters.evictions += 1
        this.#cluster(pool.clusterId).retire(pool)
      },
      onDeadline: (pool, reason) => {
        // One that is being opened closes by itself.
        for (const { state, connection } of [...pool.slots]) if (state !== 'opening') connection.stop(reason)
      },
    })
    this.#owner = {
      texts: new StatementTexts(),
      tryRun: (lease, statement) => this.#tryRun(lease, statement),
      waitAndRun: (lease, statement, signals) =>
        this.#whenServed(lease, signals, (cluster, pool, limits) =>
          cluster.sharing.run(pool, statement, limits),
        ),
      acquire: (lease, signals) =>
        this.#whenServed(lease, signals, (cluster, pool, limits) => cluster.acquire(pool, limits)),
      giveBack: (slot) => this.#cluster(slot.pool.clusterId).release(slot),
      released: (lease) => this.#released(lease),
      retrying: () => {
        this.#counters.retries += 1
      },
    }
    const periodMs = Math.min(5_000, Math.max(10, Math.min(idleTimeoutMs, leaseWarnMs) / 4))
    this.#housekeeping = setInterval(() => this.#keepHouse(), periodMs).unref()
  }

  /** Runs `work` with a handle on the tenant's database, valid until it returns. Throws as `lease` does. */
  async use<T>(
    tenantId: string,
    work: (db: TenantDb<Schema>) => Promise<T>,
    options?: LeaseOptions,
  ): Promise<T> {
    const lease = await this.lease(tenantId, options)
    try {
      return await work(lease.db)
    } finally {
      lease.release()
    }
  }

  /**
   * A hold on the tenant's connections; release it. Throws `not_found`, `tenant_not_ready`, `tenant_suspended` or
   * `gone` by the tenant's status, and `database_unavailable` when the tenant can't be looked up. Statements on `db`
   * throw those too, and `overloaded` when no connection became free in time.
   */
  async lease(tenantId: string, options?: LeaseOptions): Promise<Lease<Schema>> {
    return leaseOf<Schema>(await this.#hold(tenantId, options))
  }

  /**
   * Begins to open a connection for a tenant that has none, for someone who has still to be admitted. Resolves when all that is
   * left is the server's work, and soon in any case: who waits is to gain by it. What goes wrong shows when it is used.
   */
  warm(tenantId: string): Promise<void> {
    const gains = this.#options.isFresh() && !this.#pools.has(tenantId)
    if (gains) this.#sockets.anticipate()
    const begun = headStart((begin) => this.#warm(tenantId, begin))
    return gains ? begun : Promise.resolve()
  }

  async #warm(tenantId: string, begun: () => void): Promise<void> {
    const hold = await this.#hold(tenantId)
    try {
      await this.#whenServed(hold, [], (cluster, pool, limits) => {
        const warmed = cluster.sharing.warm(pool, limits)
        pool.whenLoginSaid(begun)
        return warmed
      })
    } finally {
      hold.finish()
    }
  }

  async #hold(tenantId: string, options?: LeaseOptions): Promise<LeaseHold> {
    this.#assertOpen()
    if (options?.signal?.aborted) throw options.signal.reason
    const take = (pool: TenantPool<TenantConnection>): LeaseHold => {
      this.#assertOpen()
      return new LeaseHold(this.#owner, pool, this.#now(), options)
    }
    const known = this.#poolInMind(tenantId)
    const hold =
      known !== undefined
        ? take(known)
        : await this.#onPoolOf(tenantId, take, { signals: signalsOf(options?.signal) })
    this.#leases.add(hold)
    return hold
  }

  /**
   * Forgets where the tenant is, also when it is being looked up just now. A tenant with open connections is looked
   * up again at once, so that a suspended or moved one does not keep them.
   */
  invalidate(tenantId: string): void {
    this.#directory.invalidate(tenantId)
    if (this.#closing !== undefined || !this.#pools.has(tenantId)) return
    this.#onPoolOf(tenantId, (pool) => this.#forget(pool)).catch(() => {})
  }

  /** Forgets where every tenant is; each is looked up again at its next use. */
  invalidateAll(): void {
    this.#directory.invalidateAll()
  }

  /**
   * The connections that this node may have on a cluster from now on. When it has more, idle ones close now, others as
   * they come back, and until then none opens.
   */
  setShare(clusterId: string, connections: number): void {
    this.#clusters.get(clusterId)?.setTotal(connections)
  }

  /** Server connections on a cluster: open, opening and closing. */
  permitsUsed(clusterId: string): number {
    return this.#clusters.get(clusterId)?.stats().permitsUsed ?? 0
  }

  /** Cuts every connection, whatever is under way: statements fail with `database_unavailable`. The router goes on. */
  cut(): void {
    for (const cluster of this.#clusters.values()) cluster.cut()
  }

  stats(): RouterStats {
    const [pools, leases] = [countByCluster(this.#pools.all()), countByCluster(this.#leases.pools())]
    for (const clusterId of [...pools.keys(), ...leases.keys()]) this.#cluster(clusterId)
    const clusters = [...this.#clusters].map(([id, cluster]) => {
      return { ...cluster.stats(), pools: pools.get(id) ?? 0, leases: leases.get(id) ?? 0 }
    })
    return routerStats(this.#counters, clusters)
  }

  /**
   * Refuses new leases, waits for those that are out (up to the deadline), then closes every connection and waits
   * until its socket has closed. Safe to call twice.
   */
  close(options: { deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.deadlineMs)
    return this.#closing
  }

  async #close(deadlineMs: number | undefined): Promise<void> {
    await this.#leases.returned(deadlineMs)
    clearInterval(this.#housekeeping)
    this.#sockets.close()
    this.#leases.end()
    await Promise.all([...this.#clusters.values()].map((cluster) => cluster.close()))
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw overloaded(new Error('the router is closing'))
  }

  /**
   * Does something with the tenant's pool, by what is remembered of the tenant or by a look-up. `then` runs in the same
   * breath in which the pool was found to be the current one, so that it can take hold of it before it is forgotten.
   */
  async #onPoolOf<T>(
    tenantId: string,
    then: (pool: TenantPool<TenantConnection>) => T,
    { holder, ...patience }: Patience & { holder?: LeaseHold } = {},
  ): Promise<T> {
    for (let i = 0; i < maxLookups; i++) {
      const known = this.#directory.peek(tenantId) ?? (await this.#directory.find(tenantId, patience))
      const pool = this.#pools.current(tenantId, known, holder?.pool)
      if (pool !== undefined) return then(pool)
    }
    throw overloaded(new Error('the tenant kept changing while it was looked up'))
  }

  /** The tenant's pool when it is remembered. Throws the refusal when the tenant may not be used. */
  #poolInMind(tenantId: string, holder?: LeaseHold): TenantPool<TenantConnection> | undefined {
    const known = this.#directory.peek(tenantId)
    return known === undefined ? undefined : this.#pools.current(tenantId, known, holder?.pool)
  }

  /** The way of nearly every statement: no look-up, no wait, no promise but the statement's own. */
  #tryRun(lease: LeaseHold, statement: Statement): boolean {
    const pool = this.#poolInMind(lease.tenantId, lease)
    if (pool === undefined) return false
    lease.moveTo(pool)
    return this.#cluster(pool.clusterId).sharing.tryRun(pool, statement)
  }

  /** Waits for something of the tenant's cluster, and looks the tenant up again when it has changed meanwhile. */
  async #whenServed<T>(
    lease: LeaseHold,
    signals: readonly AbortSignal[],
    serve: (
      cluster: ClusterBudget<TenantConnection>,
      pool: TenantPool<TenantConnection>,
      limits: WaitLimits,
    ) => Promise<T>,
  ): Promise<T> {
    // Not the same for those who came at once, who would all be back at once; still longer than a connect may take.
    const deadline = this.#now() + this.#options.acquireTimeoutMs * (0.9 + 0.1 * Math.random())
    const left = (): number => Math.max(1, deadline - this.#now())
    for (let i = 0; i < maxLookups; i++) {
      const moveTo = (current: TenantPool<TenantConnection>): TenantPool<TenantConnection> => {
        for (const signal of signals) signal.throwIfAborted()
        lease.moveTo(current)
        return current
      }
      const pool = await this.#onPoolOf(lease.tenantId, moveTo, { holder: lease, timeoutMs: left(), signals })
      try {
        const limits = { timeoutMs: left(), patienceMs: this.#options.acquireTimeoutMs, signals }
        return await serve(this.#cluster(pool.clusterId), pool, limits)
      } catch (error) {
        if (!(error instanceof PoolRetired)) throw error
      }
    }
    throw overloaded(new Error('the tenant kept changing while a connection was awaited'))
  }

  #released(lease: LeaseHold): void {
    this.#leases.delete(lease)
    this.#forget(lease.pool)
  }

  #forget(pool: TenantPool<TenantConnection>): void {
    if (this.#pools.forget(pool)) this.#counters.evictions += 1
  }

  #cluster(clusterId: string): ClusterBudget<TenantConnection> {
    const known = this.#clusters.get(clusterId)
    if (known !== undefined) return known
    const { budget, mayOpen, tenantMaxConnections, nodes, clock } = this.#options
    const around = { watch: this.#watch, counters: this.#counters, sockets: this.#sockets }
    const cluster: ClusterBudget<TenantConnection> = new ClusterBudget<TenantConnection>({
      ...{ clusterId, mayOpen, clock },
      tenantMax: (byPlan) => Math.max(1, Math.floor(Math.min(tenantMaxConnections, byPlan) / nodes())),
      budget: typeof budget === 'number' ? budget : budget(clusterId),
      counters: this.#counters,
      watch: this.#watch,
      connect: connector(this.#options, { ...around, question: (pool) => sessionQuestion(cluster, pool) }),
      onEmpty: (pool) => this.#forget(pool),
    })
    this.#clusters.set(clusterId, cluster)
    return cluster
  }

  #keepHouse(): void {
    const now = this.#now()
    for (const cluster of this.#clusters.values()) cluster.closeIdleSince(now - this.#options.idleTimeoutMs)
    this.#leases.warnOverdue(now)
  }
}
