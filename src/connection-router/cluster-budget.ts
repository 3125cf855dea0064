import type { Clock } from '../kernel/clock.ts'
import { overloaded } from './connect-errors.ts'
import { Demand } from './demand.ts'
import { IdlePools } from './idle-pools.ts'
import { Permits } from './permits.ts'
import type { ClusterStats, RouterCounters } from './stats.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'
import { joinQueue, newWaitQueue, type WaitLimits, type WaitQueue } from './waiter.ts'

/**
 * While others wait, a connection stays with its tenant for this long before its permit goes to the next one: five
 * times what a connect costs (5 ms with SCRAM), so that at most a sixth of the time goes into connecting.
 */
const turnMs = 25
/** A pool whose connect failed, but which has working connections, does not try again for this long. */
const retryMs = 250

/** Thrown to those who wait for a pool whose identity is no longer the tenant's: look the tenant up again. */
export class PoolRetired extends Error {
  override readonly name = 'PoolRetired'
}

export type ClusterBudgetOptions<C extends ServerConnection> = Readonly<{
  clusterId: string
  /** Permits: server connections that this node may have on the cluster. */
  budget: number
  tenantMaxConnections: number
  counters: RouterCounters
  clock: Clock
  /** Makes a connection that is not open yet. */
  connect: (pool: TenantPool<C>, events: { broken(): void; ended(): void }) => C
  /** A pool has nothing open any more. */
  onEmpty: (pool: TenantPool<C>) => void
}>

/**
 * All server connections of this node to one cluster. None is opened without a permit; a permit comes back when its
 * socket has closed. When none is free, the longest-idle connection of the least recently used tenant is closed.
 */
export class ClusterBudget<C extends ServerConnection = ServerConnection> {
  readonly #options: ClusterBudgetOptions<C>
  readonly #counters: RouterCounters
  readonly #permits: Permits
  readonly #queue: WaitQueue<C> = newWaitQueue()
  readonly #demand: Demand<C>
  readonly #slots = new Set<Slot<C>>()
  readonly #idle = new IdlePools<C>()
  #closing = 0
  #closed: PromiseWithResolvers<void> | undefined

  constructor(options: ClusterBudgetOptions<C>) {
    this.#options = options
    this.#counters = options.counters
    this.#permits = new Permits(options.budget)
    this.#demand = new Demand(this.#queue, this.#permits, options.tenantMaxConnections)
  }

  /**
   * A connection of this pool, for the caller alone until `release`. Throws `overloaded` at the deadline, PoolRetired
   * when the tenant must be looked up again, and what `open` threw when the database can't be reached.
   */
  async acquire(pool: TenantPool<C>, limits: WaitLimits): Promise<Slot<C>> {
    if (this.#closed !== undefined) throw overloaded(new Error('the router is closed'))
    if (pool.retired) throw new PoolRetired()
    const idle = this.#idle.take(pool)
    if (idle !== undefined) {
      idle.state = 'busy'
      idle.turnSince = this.#now()
      this.#counters.recordWait(0)
      return idle
    }
    const slot = joinQueue(this.#queue, pool, limits, this.#counters, this.#options.clock)
    this.#serve()
    return slot
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
    for (const ticket of this.#queue.line(pool.tenantId)) {
      if (ticket.item.pool === pool && this.#queue.remove(ticket)) ticket.item.refuse(new PoolRetired())
    }
    this.#serve()
  }

  /** Closes what has been idle since before `time` (milliseconds). */
  closeIdleSince(time: number): void {
    for (const slot of this.#idle.since(time)) this.#close(slot)
  }

  /** Refuses everyone who waits, closes every connection (one with a statement under way after it), waits for the ends. */
  async close(): Promise<void> {
    this.#closed ??= Promise.withResolvers<void>()
    for (const tenantId of [...this.#queue.tenants()]) {
      for (const ticket of this.#queue.line(tenantId)) {
        if (this.#queue.remove(ticket)) ticket.item.refuse(overloaded(new Error('the router is closed')))
      }
    }
    for (const slot of [...this.#slots]) if (slot.state !== 'opening') this.#close(slot)
    if (this.#slots.size === 0) this.#closed.resolve()
    await this.#closed.promise
  }

  stats(): ClusterStats {
    const count = { opening: 0, idle: 0, busy: 0, closing: 0, ended: 0 }
    for (const slot of this.#slots) count[slot.state] += 1
    const { opening, idle, busy, closing } = count
    return {
      clusterId: this.#options.clusterId,
      permitsTotal: this.#permits.total,
      permitsUsed: this.#permits.used,
      waiters: this.#queue.size,
      ...{ opening, idle, busy, closing },
    }
  }

  #now(): number {
    return this.#options.clock.now().getTime()
  }

  /** Gives permits to those whose turn it is; makes room when there are not enough. */
  #serve(): void {
    if (this.#closed !== undefined) return
    const now = this.#now()
    for (const tenantId of this.#queue.tenants()) {
      if (this.#permits.free === 0) break
      const pool = this.#queue.first(tenantId)?.pool
      if (pool === undefined || this.#demand.of(tenantId, now) === 0) continue
      // Passing moves the tenant to the end of this very iteration, where it may get another one.
      this.#queue.pass(tenantId)
      this.#open(pool)
    }
    while (this.#idle.size > 0 && this.#demand.exceeds(this.#closing, now)) {
      const victim = this.#idle.victim()
      if (victim === undefined) return
      this.#counters.steals += 1
      this.#close(victim)
    }
  }

  #open(pool: TenantPool<C>): void {
    const permit = this.#permits.take(pool.tenantId)
    if (permit === undefined) return
    const events = {
      broken: () => {
        if (slot.state === 'idle') this.#close(slot)
      },
      ended: () => this.#ended(slot),
    }
    const slot: Slot<C> = {
      pool,
      permit,
      connection: this.#options.connect(pool, events),
      state: 'opening',
      turnSince: 0,
      idleSince: 0,
    }
    this.#slots.add(slot)
    pool.slots.add(slot)
    pool.opening += 1
    this.#counters.opens += 1
    slot.connection.open().then(
      () => this.#opened(slot),
      (error: unknown) => this.#failed(slot, error),
    )
  }

  #opened(slot: Slot<C>): void {
    slot.pool.opening -= 1
    slot.turnSince = this.#now()
    if (this.#closed === undefined && slot.state === 'opening' && slot.connection.reusable) {
      this.#place(slot)
      return
    }
    this.#close(slot)
    this.#serve()
  }

  #failed(slot: Slot<C>, error: unknown): void {
    const { pool } = slot
    pool.opening -= 1
    this.#counters.openFailures += 1
    this.#close(slot)
    if (pool.alive) {
      pool.retryAt = this.#now() + retryMs
      setTimeout(() => this.#serve(), retryMs + 1).unref()
    } else {
      // They all wait for the same thing, and it is not coming.
      for (const ticket of this.#queue.line(pool.tenantId)) {
        if (ticket.item.pool === pool && this.#queue.remove(ticket)) ticket.item.refuse(error)
      }
    }
    if (pool.empty) this.#options.onEmpty(pool)
    this.#serve()
  }

  /** A clean connection goes to its tenant's next waiter, to another tenant whose turn it is, or becomes idle. */
  #place(slot: Slot<C>): void {
    const { pool } = slot
    if (pool.retired) {
      this.#close(slot)
    } else if (this.#queue.first(pool.tenantId)?.pool !== pool) {
      slot.state = 'idle'
      slot.idleSince = this.#now()
      this.#idle.put(slot)
    } else if (this.#turnIsOver(slot)) {
      this.#counters.yields += 1
      this.#close(slot)
    } else {
      slot.state = 'busy'
      this.#queue.take(pool.tenantId)?.give(slot)
      return
    }
    this.#serve()
  }

  #turnIsOver(slot: Slot<C>): boolean {
    const now = this.#now()
    return now - slot.turnSince >= turnMs && this.#demand.exceeds(this.#closing, now, slot.pool.tenantId)
  }

  #close(slot: Slot<C>): void {
    if (slot.state === 'closing' || slot.state === 'ended') return
    if (slot.state === 'idle') this.#idle.remove(slot)
    slot.state = 'closing'
    this.#closing += 1
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
    slot.permit.giveBack()
    if (slot.pool.empty) this.#options.onEmpty(slot.pool)
    if (this.#slots.size === 0) this.#closed?.resolve()
    this.#serve()
  }
}
