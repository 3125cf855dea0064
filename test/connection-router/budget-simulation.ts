import { ClusterBudget } from '../../src/connection-router/cluster-budget.ts'
import type { KnownPlacement } from '../../src/connection-router/directory.ts'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import {
  type ServerConnection,
  type Slot,
  type SlotEvents,
  TenantPool,
} from '../../src/connection-router/tenant-pool.ts'
import { Statement } from '../../src/connection-router/wire/statement.ts'
import type { Watched } from '../../src/connection-router/wire/watch.ts'
import type { Clock } from '../../src/kernel/clock.ts'

const mostInFlight = 3

/** A connection as the books should see it: it opens, fails, closes and dies when the test says so. */
export class ModelConnection implements ServerConnection {
  readonly pool: TenantPool<ModelConnection>
  reusable = true
  state: 'opening' | 'open' | 'failed' | 'ended' = 'opening'
  closing = false
  broken = false
  holders = 0
  readonly #opened = Promise.withResolvers<void>()
  readonly named = 0
  readonly statements: Statement[] = []
  problem = ''
  readonly #events: SlotEvents

  constructor(pool: TenantPool<ModelConnection>, events: SlotEvents) {
    this.pool = pool
    this.#events = events
  }

  get hasRoom(): boolean {
    return this.reusable && !this.closing && this.statements.length < mostInFlight
  }

  get inFlight(): number {
    return this.statements.length
  }

  open(): Promise<void> {
    return this.#opened.promise
  }

  run(statement: Statement): void {
    if (statement.text.sql !== this.pool.identity) this.problem = 'a statement of another pool'
    this.statements.push(statement)
  }

  /** The oldest statement is answered. */
  answer(): void {
    this.statements.shift()?.succeed()
    this.#events.settled()
  }

  close(): void {
    this.closing = true
  }

  cut(): void {
    this.closing = true
    this.end()
  }

  succeed(): void {
    this.state = 'open'
    this.#opened.resolve()
  }

  fail(): void {
    this.state = 'failed'
    this.#opened.reject(new Error('refused'))
  }

  /** Its server is gone; the socket is not closed yet. */
  break(): void {
    this.broken = true
    this.reusable = false
    this.#events.broken()
  }

  end(): void {
    const [opening, closing] = [this.state === 'opening', this.closing]
    this.state = 'ended'
    this.reusable = false
    for (const statement of this.statements.splice(0)) statement.fail(new Error('died'))
    if (opening) this.#opened.reject(new Error('died'))
    else if (!closing) this.#events.broken()
    this.#events.ended()
    this.#events.ended()
  }
}

/** Lets everything happen that waits for nothing outside. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A cluster's books with model connections, and what must hold of them after every step. */
export class Simulation {
  budget: number
  tenantMax: number
  readonly connections: ModelConnection[] = []
  readonly held: Slot<ModelConnection>[] = []
  readonly problems: string[] = []
  waiting = 0
  running = 0
  ticks = 0
  readonly #watched = new Set<Watched>()
  nowMs = 1_000_000
  readonly #pools = new Map<string, TenantPool<ModelConnection>>()
  readonly #weights = new Map<string, number>()
  readonly #cluster: ClusterBudget<ModelConnection>
  #epoch = 0

  constructor(budget: number, tenantMax: number, random = Math.random) {
    this.budget = budget
    this.tenantMax = tenantMax
    const clock: Clock = { now: () => new Date(this.nowMs) }
    const ticks = (): number => this.ticks
    const watch = {
      get now(): number {
        return ticks()
      },
      add: (watched: Watched) => this.#watched.add(watched),
    }
    this.#cluster = new ClusterBudget<ModelConnection>({
      ...{ clusterId: 'main', budget, tenantMax: () => this.tenantMax, clock, watch, random },
      counters: new RouterCounters(),
      connect: (pool, events) => {
        const connection = new ModelConnection(pool, events)
        this.connections.push(connection)
        this.#checkOpening(pool.tenantId)
        return connection
      },
      onEmpty: () => {},
    })
  }

  get alive(): ModelConnection[] {
    return this.connections.filter(({ state }) => state !== 'ended')
  }

  /** Its plan gives the tenant this weight; 1 until then. A look-up that finds it where it was says so. */
  weigh(tenantId: string, weight: number): void {
    this.#weights.set(tenantId, weight)
    this.#pools.get(tenantId)?.confirm(this.#lookUp(tenantId))
  }

  acquire(tenantId: string): void {
    const pool = this.#pools.get(tenantId) ?? this.#newPool(tenantId)
    this.waiting += 1
    const done = (): void => {
      this.waiting -= 1
    }
    this.#cluster.acquire(pool, { timeoutMs: 1_000_000 }).then(
      (slot) => {
        done()
        slot.connection.holders += 1
        if (slot.connection.broken || slot.connection.closing) this.problems.push('a dead connection')
        if (slot.pool !== pool) this.problems.push('a connection of another pool')
        this.held.push(slot)
      },
      () => done(),
    )
  }

  /** A plain statement, that shares a connection with others. */
  plain(tenantId: string): void {
    const pool = this.#pools.get(tenantId) ?? this.#newPool(tenantId)
    const text = {
      ...{ sql: pool.identity, leavesState: false, shareable: true, repeatable: false },
      ...{ cost: 0, worthNaming: false },
    }
    const statement = new Statement(text, [], undefined)
    this.running += 1
    this.waiting += 1
    const done = (): void => {
      this.running -= 1
    }
    statement.promise.then(done, done)
    this.#cluster.sharing.run(pool, statement, { timeoutMs: 1_000_000 }).then(
      () => {
        this.waiting -= 1
      },
      () => {
        this.waiting -= 1
        done()
      },
    )
  }

  tick(): void {
    this.ticks += 1
    for (const watched of this.#watched) if (!watched.onTick(this.ticks)) this.#watched.delete(watched)
  }

  release(which: number, reusable: boolean): void {
    const [slot] = this.held.splice(which % Math.max(1, this.held.length), 1)
    if (slot === undefined) return
    slot.connection.holders -= 1
    slot.connection.reusable &&= reusable
    this.#cluster.release(slot)
  }

  setTotal(total: number): void {
    this.budget = total
    this.#cluster.setTotal(total)
  }

  cut(): void {
    this.held.length = 0
    this.#cluster.cut()
  }

  retire(tenantId: string): void {
    const pool = this.#pools.get(tenantId)
    if (pool === undefined) return
    this.#pools.delete(tenantId)
    this.#cluster.retire(pool)
  }

  async finish(): Promise<void> {
    this.setTotal(Math.max(1, this.budget))
    for (let i = 0; i < 1_000 && (this.waiting > 0 || this.running > 0 || this.held.length > 0); i++) {
      this.nowMs += 1_000
      this.tick()
      for (const connection of this.alive) connection.answer()
      for (const connection of this.alive) {
        if (connection.state === 'opening') connection.succeed()
        else if (connection.closing) connection.end()
      }
      while (this.held.length > 0) this.release(0, true)
      await settle()
      this.check()
    }
    const closed = this.#cluster.close()
    for (let i = 0; i < 10; i++) {
      for (const connection of this.alive) {
        if (connection.state === 'opening') connection.succeed()
        else if (connection.closing) connection.end()
      }
      await settle()
    }
    await closed
    this.check()
    if (this.waiting > 0 || this.running > 0) throw new Error('someone was forgotten')
    if (this.#cluster.stats().permitsUsed !== 0) throw new Error('a permit leaked')
  }

  check(): void {
    for (const { problem } of this.connections) if (problem !== '') this.problems.push(problem)
    if (this.problems.length > 0) throw new Error(this.problems.join(', '))
    const { permitsUsed, waiters, idle, closing } = this.#cluster.stats()
    if (permitsUsed !== this.alive.length)
      throw new Error(`${permitsUsed} permits, ${this.alive.length} connections`)
    if (permitsUsed - closing > this.budget && idle > 0) throw new Error('idle, although there are too many')
    if (this.held.some(({ connection }) => connection.closing)) throw new Error('a leased one was closed')
    if (this.connections.some(({ holders, inFlight }) => holders > 0 && inFlight > 0))
      throw new Error('a transaction among plain statements')
    if (this.connections.some(({ inFlight }) => inFlight > mostInFlight))
      throw new Error('too many in flight')
    const inFlight = this.alive.reduce((sum, connection) => sum + connection.inFlight, 0)
    if (inFlight !== this.#cluster.stats().inFlight) throw new Error('statements in flight are not counted')
    if (this.connections.some(({ holders }) => holders > 1)) throw new Error('two holders of one connection')
    if (waiters !== this.waiting) throw new Error(`${waiters} in the queue, ${this.waiting} wait`)
  }

  /** Whenever one opens, the books are within the budget and the tenant's maximum. */
  #checkOpening(tenantId: string): void {
    if (this.alive.length > this.budget) this.problems.push('over the budget')
    const most = Math.min(this.tenantMax, Math.max(1, Math.floor(this.budget * 0.75)))
    const own = this.alive.filter(({ pool }) => pool.tenantId === tenantId)
    if (own.length > most) this.problems.push('over the maximum of a tenant')
  }

  #newPool(tenantId: string): TenantPool<ModelConnection> {
    this.#epoch += 1
    const pool = new TenantPool<ModelConnection>(this.#lookUp(tenantId))
    this.#pools.set(tenantId, pool)
    return pool
  }

  #lookUp(tenantId: string): KnownPlacement {
    const address = { host: '', port: 0, database: '', user: '', password: '', ssl: 'disable' } as const
    const where = { databaseId: '', clusterId: 'main', epoch: this.#epoch, credentialVersion: 1, address }
    const weight = this.#weights.get(tenantId) ?? 1
    return {
      placement: { tenantId, status: 'active', ...where, weight },
      identity: `${tenantId}/${this.#epoch}`,
      lookup: this.#epoch,
    }
  }
}
