import { Kysely } from 'kysely'
import { type ConnectionSource, TenantDialect } from './dialect.ts'
import type { TenantConnection } from './tenant-connection.ts'
import { brandTenantDb, type TenantDb } from './tenant-db.ts'
import type { Slot, TenantPool } from './tenant-pool.ts'

/**
 * A handler's hold on a tenant's connections. It takes no server connection by itself: each statement and each
 * transaction takes one for its duration. Releasing twice is harmless; `db` throws once it is released.
 */
export type Lease<Schema> = {
  readonly db: TenantDb<Schema>
  readonly tenantId: string
  release(): void
}

/** What a lease needs of the router. */
export type LeaseOwner = {
  acquire(lease: LeaseHold, signal: AbortSignal): Promise<Slot<TenantConnection>>
  giveBack(slot: Slot<TenantConnection>): void
  released(lease: LeaseHold): void
}

/** The router's side of a lease. */
export class LeaseHold implements ConnectionSource {
  readonly tenantId: string
  /** Milliseconds since 1970. */
  readonly since: number
  overdue = false
  readonly #owner: LeaseOwner
  #released = false
  /** Statements on their way to a connection; aborted when the lease ends. */
  #acquiring = 0
  readonly #end = new AbortController()
  #pool: TenantPool<TenantConnection>

  constructor(owner: LeaseOwner, pool: TenantPool<TenantConnection>, since: number) {
    this.#owner = owner
    this.#pool = pool
    this.tenantId = pool.tenantId
    this.since = since
    pool.leases += 1
  }

  get pool(): TenantPool<TenantConnection> {
    return this.#pool
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
  }

  async acquire(signal: AbortSignal | undefined): Promise<Slot<TenantConnection>> {
    this.assertHeld()
    const end = this.#end.signal
    this.#acquiring += 1
    try {
      const slot = await this.#owner.acquire(
        this,
        signal === undefined ? end : AbortSignal.any([end, signal]),
      )
      if (!this.#released) return slot
      this.#owner.giveBack(slot)
    } finally {
      this.#acquiring -= 1
    }
    throw new Error('The lease was released while it waited for a connection.')
  }

  release(slot: Slot<TenantConnection>): void {
    this.#owner.giveBack(slot)
  }

  /** Ends the lease, and with it every wait for a connection. The second time changes nothing. */
  finish(): void {
    if (this.#released) return
    this.#released = true
    // Only when needed: an error and an abort cost more than all the rest of a lease.
    if (this.#acquiring > 0) {
      this.#end.abort(new Error('The lease was released while it waited for a connection.'))
    }
    this.#pool.leases -= 1
    this.#owner.released(this)
  }
}

/** The handler's side: a branded handle and the way to give it back. */
export const leaseOf = <Schema>(hold: LeaseHold): Lease<Schema> => ({
  db: brandTenantDb(new Kysely<Schema>({ dialect: new TenantDialect(hold) }), hold.tenantId),
  tenantId: hold.tenantId,
  release: () => hold.finish(),
})
