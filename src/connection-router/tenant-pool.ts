import type { PostgresAddress } from '../kernel/postgres-address.ts'
import type { KnownPlacement } from './directory.ts'
import type { Permit } from './permits.ts'

/** What the budget needs of a server connection; TenantConnection is the one there is. */
export type ServerConnection = {
  /** Throws an error for the caller; the connection must then be closed. */
  open(): Promise<void>
  /** Begins to close it; may be called at any time. Its owner hears when it has ended. */
  close(): void
  /** True when it may serve someone else. */
  readonly reusable: boolean
}

/** One connection with its permit, from the decision to open it until its socket has closed. */
export type Slot<C extends ServerConnection = ServerConnection> = {
  readonly pool: TenantPool<C>
  readonly permit: Permit
  readonly connection: C
  state: 'opening' | 'idle' | 'busy' | 'closing' | 'ended'
  /** When its current turn began: opened, or taken after it was idle. Milliseconds. */
  turnSince: number
  idleSince: number
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
  retired = false
  /** Leases that hold this pool: while there is one, it is not dropped. */
  leases = 0
  /** Every connection that has not ended. */
  readonly slots = new Set<Slot<C>>()
  /** The most recently used last. */
  readonly idle: Slot<C>[] = []
  opening = 0
  /** After a failed open: not before this time, as long as another connection works. Milliseconds. */
  retryAt = 0

  constructor({ placement, identity, lookup }: KnownPlacement) {
    if (!('address' in placement)) throw new Error('a tenant without a database has no pool')
    this.tenantId = placement.tenantId
    this.clusterId = placement.clusterId
    this.address = placement.address
    this.identity = identity
    this.lookup = lookup
  }

  /** Nothing open and nobody holds it: it may be forgotten. */
  get empty(): boolean {
    return this.slots.size === 0 && this.leases === 0 && this.opening === 0
  }

  /** True while a connection works or may soon. */
  get alive(): boolean {
    for (const { state } of this.slots) if (state !== 'closing') return true
    return false
  }
}
