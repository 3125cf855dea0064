import type { PostgresAddress } from '../kernel/postgres-address.ts'
import type { KnownPlacement } from './directory.ts'
import type { Ticket } from './fair-queue.ts'
import { Pace } from './pace.ts'
import type { Permit } from './permits.ts'
import type { LineEntry } from './sharing.ts'
import type { Waiter } from './waiter.ts'
import type { Statement } from './wire/statement.ts'

/** What the budget needs of a server connection; TenantConnection is the one there is. */
export type ServerConnection = {
  /** Throws an error for the caller; the connection must then be closed. */
  open(): Promise<void>
  /** Begins to close it; may be called at any time. Its owner hears when it has ended. */
  close(): void
  /** Cuts it without a goodbye, whatever is under way. */
  cut(): void
  /** True when it may serve someone else. */
  readonly reusable: boolean
  /** True when another plain statement may run beside those in flight. */
  readonly hasRoom: boolean
  readonly inFlight: number
  /** Statements prepared by name. */
  readonly named: number
  /** Sends a statement, which is settled with the answer. Never throws. */
  run(statement: Statement): void
}

/** What a connection tells the books. `ended` comes exactly once. */
export type SlotEvents = { broken(): void; ended(): void; settled(): void }

/** One connection with its permit, from the decision to open it until its socket has closed. */
export type Slot<C extends ServerConnection = ServerConnection> = {
  readonly pool: TenantPool<C>
  readonly permit: Permit
  readonly connection: C
  state: 'opening' | 'idle' | 'busy' | 'closing' | 'ended'
  /** Busy with plain statements of anyone of the tenant, rather than with one holder. */
  shared: boolean
  /** When its current turn began: opened, taken after it was idle, or the turn before was over. Milliseconds. */
  turnSince: number
  /** How many were over since they began. */
  turns: number
  /** When the first of them began. Milliseconds. */
  keptSince: number
  idleSince: number
  /** Idle in the middle of its turns, since this turn of the event loop. */
  pausing: boolean
}

/**
 * The connections of one identity: tenant, database, epoch and credential version. The identity never changes; a new
 * one gets a new pool, and this one is retired: it opens nothing more and closes each connection as it comes back.
 */
export class TenantPool<C extends ServerConnection = ServerConnection> {
  readonly tenantId: string
  readonly clusterId: string
  readonly identity: string
  readonly address: PostgresAddress
  /** The newest look-up that confirmed this identity. */
  lookup: number
  /** How many turns a connection stays with the tenant, 1 or more; see `hadItsTurns`. */
  weight: number
  /** By the tenant's plan, over all nodes; Infinity without a limit. */
  maxConnections: number
  retired = false
  /** Runs while nobody new may use the pool; when it is over, what still runs is ended. See TenantPools. */
  deadline: NodeJS.Timeout | undefined
  /** Leases that hold this pool: while there is one, it is not dropped. */
  leases = 0
  /** Every connection that has not ended. */
  readonly slots = new Set<Slot<C>>()
  /** The most recently used last. */
  readonly idle: Slot<C>[] = []
  /** Those that are shared just now; the longest first. */
  readonly shared: Slot<C>[] = []
  /** Plain statements that wait for room on a shared connection, in order. */
  readonly line = new Set<LineEntry>()
  /** How fast the tenant's requests are served, by statements and by connections. */
  readonly pace = new Pace()
  /** The line's own place among the waiters for a connection. */
  ticket: Ticket<Waiter<C>> | undefined
  opening = 0
  readonly #waitForLogin = new Set<() => void>()
  /** After a failed open: not before this time, as long as another connection works. Milliseconds. */
  retryAt = 0
  /** When its last use was counted. Milliseconds. */
  countedAt = Number.NEGATIVE_INFINITY

  constructor({ placement, identity, lookup }: KnownPlacement) {
    if (!('address' in placement)) throw new Error('a tenant without a database has no pool')
    this.tenantId = placement.tenantId
    this.clusterId = placement.clusterId
    this.address = placement.address
    this.identity = identity
    this.lookup = lookup
    this.weight = placement.weight ?? 1
    this.maxConnections = placement.maxConnections ?? Number.POSITIVE_INFINITY
  }

  /** A look-up found the same identity; how much the tenant may use can have changed. */
  confirm({ placement, lookup }: KnownPlacement): void {
    if (lookup < this.lookup) return
    this.lookup = lookup
    if (!('address' in placement)) return
    this.weight = placement.weight ?? 1
    this.maxConnections = placement.maxConnections ?? Number.POSITIVE_INFINITY
  }

  /** Calls `then` when a connection that is being opened has said all of its login; at once when none is. */
  whenLoginSaid(then: () => void): void {
    if (this.opening === 0) then()
    else this.#waitForLogin.add(then)
  }

  /** A connection of the pool has said all of its login. */
  loginSaid(): void {
    for (const then of this.#waitForLogin) then()
    this.#waitForLogin.clear()
  }

  get leaving(): boolean {
    return this.deadline !== undefined
  }

  /** Nothing open and nobody holds it: it may be forgotten. */
  get empty(): boolean {
    return this.slots.size === 0 && this.leases === 0 && this.opening === 0
  }

  /** Connections that work or may soon. */
  get living(): number {
    let living = 0
    for (const { state } of this.slots) if (state !== 'closing' && state !== 'ended') living += 1
    return living
  }

  /** True while a connection works or may soon. */
  get alive(): boolean {
    return this.living > 0
  }
}

/** Begins a connection of this pool; its book entry counts from now on. */
export const newSlot = <C extends ServerConnection>(
  pool: TenantPool<C>,
  permit: Permit,
  connect: (pool: TenantPool<C>, events: SlotEvents) => C,
  events: SlotEvents,
): Slot<C> => {
  const connection = connect(pool, events)
  const slot: Slot<C> = {
    ...{ pool, permit, connection, shared: false, pausing: false },
    ...{ state: 'opening', turnSince: 0, turns: 0, keptSince: 0, idleSince: 0 },
  }
  pool.slots.add(slot)
  pool.opening += 1
  return slot
}

/** How many connections are in each state, and what runs on them. */
export const countSlots = (
  slots: Iterable<Slot>,
): Omit<Record<Slot['state'] | 'shared' | 'inFlight' | 'named', number>, 'ended'> => {
  const count = { opening: 0, idle: 0, busy: 0, closing: 0, ended: 0, shared: 0, inFlight: 0, named: 0 }
  for (const { state, shared, connection } of slots) {
    count[state] += 1
    if (shared) count.shared += 1
    count.inFlight += connection.inFlight
    count.named += connection.named
  }
  const { ended: _, ...living } = count
  return living
}
