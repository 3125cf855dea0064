/** A place in the queue. */
export type Ticket<T> = { readonly tenantId: string; readonly item: T }

/** What waits of one tenant, in order of arrival. */
type Line<T> = Set<Ticket<T>>

/**
 * Waiting work, in turns: round robin between tenants, first in first out within one. A tenant that has waiting work for the
 * first time joins at the end of the round. Every operation takes constant time.
 */
export class FairQueue<T> {
  /** In order of turns: the first tenant is next. */
  readonly #lines = new Map<string, Line<T>>()
  #size = 0
  /** Who has had a turn last. */
  #last: string | undefined

  get size(): number {
    return this.#size
  }

  /** How many tenants wait. */
  get tenantCount(): number {
    return this.#lines.size
  }

  /** Tenants with waiting work, the next one first. Tenants moved while iterating are met again at the end. */
  tenants(): IterableIterator<string> {
    return this.#lines.keys()
  }

  /** How much work of this tenant waits. */
  waiting(tenantId: string): number {
    return this.#lines.get(tenantId)?.size ?? 0
  }

  /** All waiting work of this tenant, oldest first. */
  line(tenantId: string): readonly Ticket<T>[] {
    return [...(this.#lines.get(tenantId) ?? [])]
  }

  push(tenantId: string, item: T): Ticket<T> {
    const ticket: Ticket<T> = { tenantId, item }
    const line = this.#lines.get(tenantId)
    if (line === undefined) this.#lines.set(tenantId, new Set([ticket]))
    else line.add(ticket)
    this.#size += 1
    return ticket
  }

  /** Leaves the queue without being served. False when it had already left. */
  remove(ticket: Ticket<T>): boolean {
    const line = this.#lines.get(ticket.tenantId)
    if (line?.delete(ticket) !== true) return false
    if (line.size === 0) this.#lines.delete(ticket.tenantId)
    this.#size -= 1
    return true
  }

  /** The tenant's oldest waiting work, which stays. */
  first(tenantId: string): T | undefined {
    return this.#lines.get(tenantId)?.values().next().value?.item
  }

  /** Takes the tenant's oldest waiting work out. */
  take(tenantId: string): T | undefined {
    const ticket = this.#lines.get(tenantId)?.values().next().value
    if (ticket === undefined) return undefined
    this.remove(ticket)
    return ticket.item
  }

  /** The tenant has had its turn in this round: it is next again after every other tenant. */
  pass(tenantId: string): void {
    this.#last = tenantId
    const line = this.#lines.get(tenantId)
    if (line === undefined) return
    this.#lines.delete(tenantId)
    this.#lines.set(tenantId, line)
  }

  /** As `pass`, when nobody else has had a turn since the tenant's: who has come meanwhile is before it. */
  yield(tenantId: string): void {
    if (this.#last === tenantId) this.pass(tenantId)
  }
}
