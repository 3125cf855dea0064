import type { CompiledQuery } from 'kysely'
import type { ConnectionSource } from './dialect.ts'
import { openTenantDb } from './executor.ts'
import { HeldConnection, type Holder } from './held-connection.ts'
import { type LazySignal, orAborted, signalsOf } from './signals.ts'
import type { StatementText, StatementTexts } from './statement-texts.ts'
import type { TenantConnection } from './tenant-connection.ts'
import type { TenantDb } from './tenant-db.ts'
import type { Slot, TenantPool } from './tenant-pool.ts'
import { Statement, type StatementResult } from './wire/statement.ts'

/**
 * A handler's hold on a tenant's connections. It takes no server connection by itself: each statement and each
 * transaction takes one for its duration. Releasing twice is harmless; `db` throws once it is released.
 */
export type Lease<Schema> = {
  readonly db: TenantDb<Schema>
  readonly tenantId: string
  release(): void
}

export type LeaseOptions = Readonly<{
  /**
   * Aborted when nobody waits for the work any more: waits end, further statements are refused with its reason, and
   * what runs on the server is cancelled where that can't hit anyone else.
   */
  signal?: AbortSignal | LazySignal | undefined
}>

/** What a lease needs of the router. */
export type LeaseOwner = {
  readonly texts: StatementTexts
  /** Sends the statement now if there is room on a shared connection of the tenant. False when it must wait. */
  tryRun(lease: LeaseHold, statement: Statement): boolean
  /** Waits for room and sends the statement. */
  waitAndRun(lease: LeaseHold, statement: Statement, signals: readonly AbortSignal[]): Promise<void>
  acquire(lease: LeaseHold, signals: readonly AbortSignal[]): Promise<Slot<TenantConnection>>
  giveBack(slot: Slot<TenantConnection>): void
  released(lease: LeaseHold): void
  retrying(): void
}

/** The router's side of a lease. */
export class LeaseHold implements ConnectionSource, Holder {
  readonly tenantId: string
  /** Milliseconds since 1970. */
  readonly since: number
  readonly texts: StatementTexts
  /** A statement's own signal; a lease's is another matter. */
  readonly signal = undefined
  overdue = false
  readonly #owner: LeaseOwner
  readonly #signal: AbortSignal | LazySignal | undefined
  #released = false
  /** Aborted when the lease ends; made when someone waits, because it costs more than all the rest of a lease. */
  #end: AbortController | undefined
  #pool: TenantPool<TenantConnection>

  constructor(
    owner: LeaseOwner,
    pool: TenantPool<TenantConnection>,
    since: number,
    options: LeaseOptions = {},
  ) {
    this.#owner = owner
    this.#pool = pool
    this.#signal = options.signal
    this.texts = owner.texts
    this.tenantId = pool.tenantId
    this.since = since
    pool.leases += 1
  }

  get pool(): TenantPool<TenantConnection> {
    return this.#pool
  }

  get aborted(): boolean {
    return this.#signal?.aborted === true
  }

  get reason(): unknown {
    return this.#signal?.reason
  }

  /** Holds another pool from now on, because the tenant's identity has changed. */
  moveTo(pool: TenantPool<TenantConnection>): void {
    if (pool === this.#pool) return
    this.#pool.leases -= 1
    this.#pool = pool
    pool.leases += 1
  }

  assertHeld(): void {
    if (this.#released) throw new Error('The lease was released: its database handle is of no use any more.')
    if (this.aborted) throw this.reason
  }

  run(query: CompiledQuery, signal: AbortSignal | undefined): Promise<StatementResult> {
    this.assertHeld()
    const text = this.texts.of(query.sql)
    if (signal !== undefined) return this.#runAbortable(query, text, signal)
    return text.shareable ? this.#runShared(query, text, this) : this.#runAlone(query, this)
  }

  async hold(signal: AbortSignal | undefined, holder: Holder = this): Promise<HeldConnection> {
    this.assertHeld()
    const slot = await this.#owner.acquire(this, this.#untilTheEnd(signal))
    if (!this.#released) return new HeldConnection(holder, slot.connection, () => this.#owner.giveBack(slot))
    this.#owner.giveBack(slot)
    throw new Error('The lease was released while it waited for a connection.')
  }

  /** A plain read whose connection died is tried once more; whoever asked waits on. */
  async rescue(statement: Statement, error: unknown): Promise<void> {
    try {
      // The books of the dead connection are closed first.
      await Promise.resolve()
      this.assertHeld()
    } catch {
      statement.fail(error)
      return
    }
    this.#owner.retrying()
    statement.restart()
    await this.#send(statement, undefined).catch((refusal: unknown) => statement.fail(refusal))
  }

  /** Ends the lease, and with it every wait for a connection. The second time changes nothing. */
  finish(): void {
    if (this.#released) return
    this.#released = true
    this.#end?.abort(new Error('The lease was released while it waited for a connection.'))
    this.#pool.leases -= 1
    this.#owner.released(this)
  }

  #runShared(query: CompiledQuery, text: StatementText, holder: Holder): Promise<StatementResult> {
    const statement = new Statement(text, query.parameters, holder)
    statement.rescuable = text.repeatable && query.query.kind === 'SelectQueryNode'
    if (this.#owner.tryRun(this, statement)) return statement.promise
    return this.#send(statement, holder.signal).then(() => statement.promise)
  }

  async #runAlone({ sql, parameters }: CompiledQuery, holder: Holder): Promise<StatementResult> {
    const held = await this.hold(holder.signal, holder)
    try {
      return await held.run(sql, parameters)
    } finally {
      held.giveBack()
    }
  }

  /** As Kysely promises: the caller hears of the abort at once, whatever becomes of the statement. */
  async #runAbortable(
    query: CompiledQuery,
    text: StatementText,
    signal: AbortSignal,
  ): Promise<StatementResult> {
    signal.throwIfAborted()
    const holder = new AbortableHolder(this, signal)
    const result = text.shareable ? this.#runShared(query, text, holder) : this.#runAlone(query, holder)
    return orAborted(result, [signal])
  }

  async #send(statement: Statement, signal: AbortSignal | undefined): Promise<void> {
    if (this.#owner.tryRun(this, statement)) return
    await this.#owner.waitAndRun(this, statement, this.#untilTheEnd(signal))
  }

  #untilTheEnd(signal: AbortSignal | undefined): readonly AbortSignal[] {
    this.#end ??= new AbortController()
    return signalsOf(this.#end.signal, this.#signal, signal)
  }
}

/** A lease for the length of one statement that has a signal of its own. */
class AbortableHolder implements Holder {
  readonly signal: AbortSignal
  readonly #hold: LeaseHold

  constructor(hold: LeaseHold, signal: AbortSignal) {
    this.#hold = hold
    this.signal = signal
  }

  get tenantId(): string {
    return this.#hold.tenantId
  }

  get texts(): StatementTexts {
    return this.#hold.texts
  }

  get aborted(): boolean {
    return this.signal.aborted || this.#hold.aborted
  }

  get reason(): unknown {
    return this.signal.aborted ? this.signal.reason : this.#hold.reason
  }

  assertHeld(): void {
    this.#hold.assertHeld()
    this.signal.throwIfAborted()
  }

  rescue(statement: Statement, error: unknown): Promise<void> {
    return this.#hold.rescue(statement, error)
  }
}

/** The handler's side: a branded handle and the way to give it back. */
export const leaseOf = <Schema>(hold: LeaseHold): Lease<Schema> => ({
  db: openTenantDb<Schema>(hold, hold.tenantId),
  tenantId: hold.tenantId,
  release: () => hold.finish(),
})
