import { millisecondsOf } from '../kernel/clock.ts'
import { type ClusterBudgetOptions, retryMs } from './cluster-options.ts'
import { overloaded, wasStaleSocket } from './connect-errors.ts'
import { ConnectGate } from './connect-gate.ts'
import { Demand } from './demand.ts'
import { IdlePools } from './idle-pools.ts'
import { Permits } from './permits.ts'
import { Sharing } from './sharing.ts'
import type { BudgetStats, RouterCounters } from './stats.ts'
import { countSlots, newSlot, type ServerConnection, type Slot, type TenantPool } from './tenant-pool.ts'
import { beginTurns } from './turns.ts'
import {
  joinQueue,
  newWaitQueue,
  PoolRetired,
  refuseWaiting,
  type WaitLimits,
  type WaitQueue,
} from './waiter.ts'

/**
 * All server connections of this node to one cluster. None is opened without a permit; a permit comes back when its
 * socket has closed. When none is free, an idle connection is closed: see IdlePools for which.
 */
export class ClusterBudget<C extends ServerConnection = ServerConnection> {
  readonly #options: ClusterBudgetOptions<C>
  readonly #counters: RouterCounters
  readonly #permits: Permits
  readonly #queue: WaitQueue<C> = newWaitQueue()
  readonly #demand: Demand<C>
  readonly #slots = new Set<Slot<C>>()
  readonly #idle: IdlePools<C>
  /** Where plain statements run side by side; everyone else has a connection to themselves. */
  readonly sharing: Sharing<C>
  readonly #gate: ConnectGate
  readonly #random: () => number
  readonly #now: () => number
  #closing = 0
  #closed: PromiseWithResolvers<void> | undefined

  constructor(options: ClusterBudgetOptions<C>) {
    this.#options = options
    this.#now = millisecondsOf(options.clock)
    this.#counters = options.counters
    this.#permits = new Permits(options.budget)
    this.#random = options.random ?? Math.random
    this.#idle = new IdlePools<C>(options.budget, this.#random, () => this.#serve())
    const isStorm = (): boolean => this.#queue.tenantCount > this.#permits.total
    const { mayOpen } = options
    this.#gate = new ConnectGate({ now: this.#now, isStorm, mayOpen, random: this.#random })
    this.#demand = new Demand(this.#queue, this.#permits, options.tenantMax)
    this.sharing = new Sharing(this.#queue, options, {
      takeIdle: (pool) => this.#idle.take(pool, this.#now()),
      used: (pool) => this.#idle.used(pool, this.#now()),
      assertServing: (pool) => this.#assertServing(pool),
      assertReachable: (pool) => this.#assertReachable(pool),
      serve: () => this.#serve(),
      isWanted: (slot) => this.#isWanted(slot),
      release: (slot) => this.release(slot),
    })
  }

  /**
   * A connection of this pool, for the caller alone until `release`. Throws `overloaded` at the deadline, PoolRetired
   * when the tenant must be looked up again, what `open` threw when the database can't be reached, and
   * `database_unavailable` at once while the cluster is away and the tenant has no connection.
   */
  async acquire(pool: TenantPool<C>, limits: WaitLimits): Promise<Slot<C>> {
    this.#assertServing(pool)
    this.#idle.used(pool, this.#now())
    const idle = this.#idle.take(pool, this.#now())
    if (idle !== undefined) {
      this.#counters.recordWait(0)
      pool.pace.served()
      return idle
    }
    this.#assertReachable(pool)
    const slot = joinQueue(this.#queue, pool, limits, this.#counters, this.#options.clock)
    this.#serve()
    return slot
  }

  /** Opens one more connection of this pool, idle when it is there, if that takes nothing from anybody. */
  openSpare(pool: TenantPool<C>): void {
    if (this.#closed === undefined && this.#demand.maySpare(pool)) this.#open(pool)
  }

  /** Gives a connection back. Harmless when it has ended meanwhile. */
  release(slot: Slot<C>): void {
    if (slot.state !== 'busy') return
    if (slot.connection.reusable) {
      this.#place(slot)
      return
    }
    this.#counters.spoiled += 1
    this.#close(slot)
    this.#serve()
  }

  /** Idle connections are closed now, busy ones when they come back, and waiters look the tenant up again. */
  retire(pool: TenantPool<C>): void {
    if (pool.retired) return
    pool.retired = true
    for (const slot of [...pool.idle]) this.#close(slot)
    this.sharing.refuse(pool, new PoolRetired())
    refuseWaiting(this.#queue, (waiting) => waiting === pool, new PoolRetired(), pool.tenantId)
    this.#serve()
  }

  /** Closes what has been idle since before `time` (milliseconds). */
  closeIdleSince(time: number): void {
    for (const slot of this.#idle.since(time)) this.#close(slot)
  }

  /**
   * The permits from now on. When there are fewer than connections, idle ones close now and others as they come back;
   * until enough have closed, none opens.
   */
  setTotal(total: number): void {
    if (total === this.#permits.total) return
    this.#permits.setTotal(total)
    this.#idle.setPermits(total)
    this.#serve()
  }

  /** Cuts every connection, whatever is under way on it. */
  cut(): void {
    // The driver never answers a connect that was told to say goodbye; one that loses its socket fails.
    for (const slot of [...this.#slots]) if (slot.state !== 'opening') this.#close(slot)
    for (const slot of [...this.#slots]) slot.connection.cut()
  }

  /** Refuses everyone who waits, closes every connection (one with a statement under way after it), waits for the ends. */
  async close(): Promise<void> {
    this.#closed ??= Promise.withResolvers<void>()
    refuseWaiting(this.#queue, () => true, overloaded(new Error('the router is closed')))
    this.sharing.refuseAll(overloaded(new Error('the router is closed')))
    for (const slot of [...this.#slots]) if (slot.state !== 'opening') this.#close(slot)
    if (this.#slots.size === 0) this.#closed.resolve()
    await this.#closed.promise
  }

  stats(): BudgetStats {
    return {
      clusterId: this.#options.clusterId,
      permitsTotal: this.#permits.total,
      permitsUsed: this.#permits.used,
      waiters: this.#queue.size + this.sharing.waiting,
      breaker: this.#gate.breaker,
      ...countSlots(this.#slots),
    }
  }

  #assertServing(pool: TenantPool<C>): void {
    if (this.#closed !== undefined) throw overloaded(new Error('the router is closed'))
    if (pool.retired) throw new PoolRetired()
  }

  #assertReachable(pool: TenantPool<C>): void {
    if (this.#gate.away && !pool.alive) throw this.#gate.refusal
  }

  /** Gives permits to those whose turn it is; makes room when there are not enough. */
  #serve(): void {
    if (this.#closed !== undefined) return
    // Who has no connection, and no way to one, is told so at once.
    if (this.#gate.away) refuseWaiting(this.#queue, (pool) => !pool.alive, this.#gate.refusal)
    const now = this.#now()
    for (const tenantId of this.#queue.tenants()) {
      if (!this.#serveTurn(tenantId, now)) break
    }
    while (this.#idle.size > 0) {
      const tooMany = this.#demand.excess(this.#closing) > 0
      if (!tooMany && !this.#demand.needsRoom(this.#closing, this.#gate.room, now)) return
      const victim = this.#idle.victim(tooMany)
      if (victim === undefined) return
      if (!tooMany) this.#counters.steals += 1
      this.#close(victim)
    }
  }

  /** Opens a connection if the tenant may have one. False when nothing can be opened for anybody now. */
  #serveTurn(tenantId: string, now: number): boolean {
    const pool = this.#queue.first(tenantId)?.pool
    if (pool === undefined || this.#demand.of(tenantId, now) === 0) return true
    if (!this.#open(pool)) return false
    // That moves the tenant to the end of the walk through all, where it may get another one.
    this.#queue.pass(tenantId)
    return true
  }

  /** False when there is no permit, or when no connect may begin now. */
  #open(pool: TenantPool<C>): boolean {
    const permit = this.#permits.take(pool.tenantId)
    const attempt = permit && this.#gate.begin()
    if (permit === undefined || attempt === undefined) {
      permit?.giveBack()
      return false
    }
    const slot = newSlot(pool, permit, this.#options.connect, {
      broken: () => {
        if (slot.state === 'idle') this.#close(slot)
      },
      ended: () => this.#ended(slot),
      settled: () => this.sharing.settled(slot),
    })
    this.#slots.add(slot)
    this.#counters.opens += 1
    slot.connection.open().then(
      () => {
        attempt.end()
        this.#opened(slot)
      },
      (error: unknown) => {
        attempt.end(error)
        this.#failed(slot, error)
      },
    )
    return true
  }

  #opened(slot: Slot<C>): void {
    slot.pool.opening -= 1
    beginTurns(slot, this.#now())
    if (this.#closed === undefined && slot.state === 'opening' && slot.connection.reusable) {
      this.#place(slot)
    } else this.#close(slot)
    this.#serve()
  }

  #failed(slot: Slot<C>, error: unknown): void {
    const { pool } = slot
    pool.opening -= 1
    this.#counters.openFailures += 1
    this.#close(slot)
    if (pool.alive) {
      const pauseMs = retryMs * (0.5 + this.#random())
      pool.retryAt = this.#now() + pauseMs
      setTimeout(() => this.#serve(), pauseMs + 1).unref()
    } else if (this.#gate.away || !wasStaleSocket(error)) {
      // They all wait for the same thing, and it is not coming.
      refuseWaiting(this.#queue, (waiting) => waiting === pool, error, pool.tenantId)
    }
    if (pool.empty) this.#options.onEmpty(pool)
    this.#serve()
  }

  /** A clean connection goes to its tenant's next waiter, to another tenant whose turn it is, or becomes idle. */
  #place(slot: Slot<C>): void {
    const { pool } = slot
    if (pool.retired || this.#demand.isTooMany(slot, this.#closing)) {
      this.#close(slot)
    } else if (this.#queue.first(pool.tenantId)?.pool !== pool) {
      this.#idle.put(slot, this.#now(), this.#queue.size > 0)
    } else if (this.#demand.goesOn(slot, this.#closing, this.#now())) {
      slot.state = 'busy'
      this.#queue.take(pool.tenantId)?.give(slot)
      return
    } else {
      this.#counters.yields += 1
      this.#close(slot)
    }
    this.#serve()
  }

  /** True when a connection that is in use should be given up as soon as that is possible. */
  #isWanted(slot: Slot<C>): boolean {
    if (this.#demand.isTooMany(slot, this.#closing)) return true
    return this.#queue.size > 0 && this.#demand.endsTurn(slot, this.#closing, this.#now())
  }

  #close(slot: Slot<C>): void {
    if (slot.state === 'closing' || slot.state === 'ended') return
    if (slot.state === 'idle') this.#idle.remove(slot)
    slot.state = 'closing'
    this.#closing += 1
    this.#idle.closing(slot.pool)
    slot.connection.close()
  }

  /** The socket has closed: only now may the permit serve someone else. */
  #ended(slot: Slot<C>): void {
    if (slot.state === 'ended') return
    if (slot.state === 'idle') this.#idle.remove(slot)
    if (slot.state === 'closing') this.#closing -= 1
    slot.state = 'ended'
    this.#slots.delete(slot)
    slot.pool.slots.delete(slot)
    this.#idle.closing(slot.pool)
    slot.permit.giveBack()
    this.sharing.ended(slot)
    if (slot.pool.empty) this.#options.onEmpty(slot.pool)
    if (this.#slots.size === 0) this.#closed?.resolve()
    this.#serve()
  }
}
