import type { Clock } from '../kernel/clock.ts'
import type { RouterCounters } from './stats.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'
import { turnMs } from './turns.ts'
import { admit, startWait, type Wait, type Waiter, type WaitLimits, type WaitQueue } from './waiter.ts'
import type { Statement } from './wire/statement.ts'
import { slowTicks, type Ticks, type Watched } from './wire/watch.ts'

/** A plain statement that waits for room on a shared connection of its pool; undefined: only for a connection to be there. */
export type LineEntry = {
  readonly statement: Statement | undefined
  readonly wait: Wait<void>
  readonly since: number
}

/** What sharing needs of the budget. */
export type SharingHost<C extends ServerConnection> = {
  /** An idle connection of this pool, which is busy from now on. */
  takeIdle(pool: TenantPool<C>): Slot<C> | undefined
  /** Somebody wants to use this pool. */
  used(pool: TenantPool<C>): void
  /** Throw when this pool serves nobody, and when there is no way to its cluster. */
  assertServing(pool: TenantPool<C>): void
  assertReachable(pool: TenantPool<C>): void
  /** Someone has joined the queue. */
  serve(): void
  /** True when this connection should be given up: another tenant's turn has come, or there are too many. */
  isWanted(slot: Slot<C>): boolean
  release(slot: Slot<C>): void
}

/**
 * Plain statements of a tenant share connections. One is enough as long as it answers quickly; another one is asked for,
 * in the fair queue, when the oldest in the line has waited for `slowTicks`. A connection is shared from its first
 * statement until nothing is in flight on it; then it is idle again and can be anyone's.
 */
export class Sharing<C extends ServerConnection> implements Watched {
  readonly #queue: WaitQueue<C>
  readonly #host: SharingHost<C>
  readonly #watch: Ticks
  readonly #counters: RouterCounters
  readonly #clock: Clock
  /** Pools in whose line someone waits, or did until the last tick. */
  readonly #lines = new Set<TenantPool<C>>()

  constructor(
    queue: WaitQueue<C>,
    around: { watch: Ticks; counters: RouterCounters; clock: Clock },
    host: SharingHost<C>,
  ) {
    this.#queue = queue
    this.#host = host
    this.#watch = around.watch
    this.#counters = around.counters
    this.#clock = around.clock
  }

  /** Sends the statement at once where there is room. False when it must wait. */
  tryRun(pool: TenantPool<C>, statement: Statement): boolean {
    this.#host.used(pool)
    // Those who wait came before.
    if (pool.line.size > 0 || !this.tryAside(pool, statement)) return false
    this.#counters.recordWait(0)
    pool.pace.served()
    return true
  }

  /** As `tryRun`, for a statement of our own, which is no use of the tenant's and counts nowhere. */
  tryAside(pool: TenantPool<C>, statement: Statement): boolean {
    const slot = this.#withRoom(pool) ?? this.#idle(pool)
    slot?.connection.run(statement)
    return slot !== undefined
  }

  /**
   * Sends the statement as soon as there is room. Throws as ClusterBudget.acquire does; what the statement comes to is
   * its own matter.
   */
  async run(pool: TenantPool<C>, statement: Statement, limits: WaitLimits): Promise<void> {
    this.#host.assertServing(pool)
    if (this.tryRun(pool, statement)) return
    this.#host.assertReachable(pool)
    await this.#wait(pool, statement, limits)
  }

  /** Waits until the pool has a connection, for a statement that comes soon. Throws as `run` does. */
  async warm(pool: TenantPool<C>, limits: WaitLimits): Promise<void> {
    this.#host.assertServing(pool)
    if (pool.alive || pool.line.size > 0) return
    this.#host.assertReachable(pool)
    await this.#wait(pool, undefined, limits)
  }

  /** How many wait in lines for a shared connection, beyond their lines' own places in the queue. */
  get waiting(): number {
    let waiting = 0
    for (const { line, ticket } of this.#lines) waiting += line.size - (ticket === undefined ? 0 : 1)
    return waiting
  }

  /** Refuses everyone who waits for a shared connection. */
  refuseAll(error: unknown): void {
    for (const pool of this.#lines) this.refuse(pool, error)
  }

  /** Refuses everyone in the line of this pool. */
  refuse(pool: TenantPool<C>, error: unknown): void {
    for (const { wait } of pool.line) wait.refuse(error)
    pool.line.clear()
    this.#withdraw(pool)
  }

  /** A statement was answered on this connection, which may be shared. */
  settled(slot: Slot<C>): void {
    if (!slot.shared) return
    if (slot.pool.line.size > 0 && !this.#mustDrain(slot)) this.#drain(slot)
    this.#letGoWhenEmpty(slot)
  }

  /** This connection is gone. */
  ended(slot: Slot<C>): void {
    const { pool } = slot
    this.#unshare(slot)
    if (pool.line.size > 0 && pool.shared.length === 0 && !pool.retired) this.#ask(pool)
  }

  onTick(tick: number): boolean {
    for (const pool of this.#lines) {
      const [oldest] = pool.line
      if (oldest === undefined) this.#lines.delete(pool)
      else if (tick - oldest.since >= slowTicks) this.#ask(pool)
    }
    return this.#lines.size > 0
  }

  #wait(pool: TenantPool<C>, statement: Statement | undefined, limits: WaitLimits): Promise<void> {
    // Whose connection died has waited before.
    const waitedBefore = statement?.lostAt !== undefined
    const place = { queue: this.#queue, pool, ahead: pool.line.size, waitedBefore }
    admit(place, limits, this.#counters, this.#clock)
    const wait = startWait<void>(pool, limits, this.#counters, this.#clock, () => this.#leave(pool, entry))
    const entry: LineEntry = { statement, wait, since: this.#watch.now }
    pool.line.add(entry)
    this.#lines.add(pool)
    this.#watch.add(this)
    // What a connection that is open can take soon need not cost another one.
    if (pool.shared.length === 0) this.#ask(pool)
    return wait.promise
  }

  #withRoom(pool: TenantPool<C>): Slot<C> | undefined {
    for (const slot of pool.shared) if (slot.connection.hasRoom && !this.#mustDrain(slot)) return slot
    return undefined
  }

  #idle(pool: TenantPool<C>): Slot<C> | undefined {
    const slot = this.#host.takeIdle(pool)
    if (slot !== undefined) this.#share(slot)
    return slot
  }

  #ask(pool: TenantPool<C>): void {
    if (pool.ticket !== undefined) return
    const idle = this.#idle(pool)
    if (idle !== undefined) {
      this.#drain(idle)
      this.#letGoWhenEmpty(idle)
      return
    }
    if (pool.shared.length > 0) this.#counters.headOfLine += 1
    const waiter: Waiter<C> = {
      pool,
      since: this.#clock.now().getTime(),
      give: (slot) => {
        pool.ticket = undefined
        this.#share(slot)
        this.#drain(slot)
        this.#letGoWhenEmpty(slot)
      },
      refuse: (error) => {
        pool.ticket = undefined
        this.refuse(pool, error)
      },
    }
    pool.ticket = this.#queue.push(pool.tenantId, waiter)
    this.#host.serve()
  }

  #leave(pool: TenantPool<C>, entry: LineEntry): void {
    pool.line.delete(entry)
    if (pool.line.size === 0) this.#withdraw(pool)
  }

  #withdraw(pool: TenantPool<C>): void {
    const { ticket } = pool
    pool.ticket = undefined
    if (ticket !== undefined) this.#queue.remove(ticket)
  }

  #drain(slot: Slot<C>): void {
    const { pool, connection } = slot
    for (const entry of pool.line) {
      if (!connection.hasRoom) break
      pool.line.delete(entry)
      entry.wait.give()
      if (entry.statement !== undefined) connection.run(entry.statement)
    }
    if (pool.line.size === 0) this.#withdraw(pool)
  }

  /**
   * True when a shared connection should take nothing more: it is wanted elsewhere, or its own tenant's next transaction
   * waits and no other connection is going to serve it, or none did in the time of a turn: who holds the others may do so for long.
   */
  #mustDrain(slot: Slot<C>): boolean {
    if (this.#host.isWanted(slot)) return true
    if (this.#queue.size === 0) return false
    const { pool } = slot
    const first = this.#queue.first(pool.tenantId)
    if (first === undefined || first === pool.ticket?.item || pool.opening > 0) return false
    if (this.#clock.now().getTime() - first.since >= turnMs) return true
    return pool.slots.size === pool.shared.length && pool.shared.at(-1) === slot
  }

  #share(slot: Slot<C>): void {
    slot.shared = true
    slot.pool.shared.push(slot)
  }

  #unshare(slot: Slot<C>): void {
    if (!slot.shared) return
    slot.shared = false
    const { shared } = slot.pool
    shared.splice(shared.indexOf(slot), 1)
  }

  #letGoWhenEmpty(slot: Slot<C>): void {
    if (!slot.shared || slot.connection.inFlight > 0) return
    const { pool } = slot
    this.#unshare(slot)
    // Nobody will come back to this line with an answer.
    if (pool.line.size > 0 && pool.shared.length === 0) this.#ask(pool)
    this.#host.release(slot)
  }
}
