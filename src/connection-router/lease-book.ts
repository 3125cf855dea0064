import type { Logger } from '../kernel/log.ts'
import type { LeaseHold } from './lease.ts'
import type { RouterCounters } from './stats.ts'
import type { TenantPool } from './tenant-pool.ts'

export type LeaseBookOptions = Readonly<{
  /** How long a lease may be out before it is logged and counted as overdue. Milliseconds. */
  leaseWarnMs: number
  log: Logger
  counters: RouterCounters
}>

/** The leases that are out, oldest first. */
export class LeaseBook {
  readonly #options: LeaseBookOptions
  readonly #leases = new Set<LeaseHold>()
  #onceReturned: (() => void) | undefined

  constructor(options: LeaseBookOptions) {
    this.#options = options
  }

  /** The pool of each. */
  *pools(): Iterable<TenantPool> {
    for (const { pool } of this.#leases) yield pool
  }

  add(lease: LeaseHold): void {
    this.#leases.add(lease)
  }

  delete(lease: LeaseHold): void {
    this.#leases.delete(lease)
    if (this.#leases.size === 0) this.#onceReturned?.()
  }

  /** Waits until every lease has come back, but no longer than this (milliseconds). */
  async returned(deadlineMs = 10_000): Promise<void> {
    if (this.#leases.size === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#onceReturned = resolve
    const timer = setTimeout(resolve, deadlineMs)
    await promise
    clearTimeout(timer)
  }

  /** Ends those that did not come back. */
  end(): void {
    if (this.#leases.size > 0)
      this.#options.log.warn({ leases: this.#leases.size }, 'leases were still out at close')
    for (const lease of [...this.#leases]) lease.finish()
  }

  /** Logs and counts, once each, those that have been out for long at `now` (milliseconds since 1970). */
  warnOverdue(now: number): void {
    const { leaseWarnMs, log, counters } = this.#options
    for (const lease of this.#leases) {
      if (now - lease.since <= leaseWarnMs) break
      if (lease.overdue) continue
      lease.overdue = true
      counters.overdueLeases += 1
      log.warn({ tenantId: lease.tenantId, heldMs: now - lease.since }, 'a lease is overdue')
    }
  }
}
