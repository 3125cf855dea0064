/** A place in the queue. */
export type Ticket<T> = { readonly tenantId: string; readonly item: T }

/** What waits of one tenant, in order of arrival; how much it is served in a round, and what is left of this one. */
type Line<T> = { readonly tickets: Set<Ticket<T>>; weight: number; left: number }

/**
 * Waiting work, in turns: round robin between tenants, first in first out within one. In its turn a tenant is served as
 * often as its weight says: deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) where all work costs one. A
 * tenant that has waiting work for the first time joins at the end of the round, so nobody waits for more than one turn
 * of each other tenant; what was left of its turn is lost when nothing of it waits. Every operation takes constant time.
 */
export class FairQueue<T> {
  /** In order of turns: the first tenant is next. */
  readonly #lines = new Map<string, Line<T>>()
  #size = 0

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
    return this.#lines.get(tenantId)?.tickets.size ?? 0
  }

  /** All waiting work of this tenant, oldest first. */
  line(tenantId: string): readonly Ticket<T>[] {
    return [...(this.#lines.get(tenantId)?.tickets ?? [])]
  }

  /** `weight` is a whole number of at least 1; a changed one counts from the tenant's next turn. */
  push(tenantId: string, item: T, weight = 1): Ticket<T> {
    const ticket: Ticket<T> = { tenantId, item }
    const line = this.#lines.get(tenantId)
    if (line === undefined) this.#lines.set(tenantId, { tickets: new Set([ticket]), weight, left: weight })
    else {
      line.tickets.add(ticket)
      line.weight = weight
    }
    this.#size += 1
    return ticket
  }

  /** Leaves the queue without being served. False when it had already left. */
  remove(ticket: Ticket<T>): boolean {
    const line = this.#lines.get(ticket.tenantId)
    if (line?.tickets.delete(ticket) !== true) return false
    if (line.tickets.size === 0) this.#lines.delete(ticket.tenantId)
    this.#size -= 1
    return true
  }

  /** The tenant's oldest waiting work, which stays. */
  first(tenantId: string): T | undefined {
    return this.#lines.get(tenantId)?.tickets.values().next().value?.item
  }

  /** Takes the tenant's oldest waiting work out, and counts it as served. */
  take(tenantId: string): T | undefined {
    const ticket = this.#lines.get(tenantId)?.tickets.values().next().value
    if (ticket === undefined) return undefined
    this.remove(ticket)
    this.pass(tenantId)
    return ticket.item
  }

  /**
   * Counts the tenant as served once. True when that ended its turn: it is next again after every other tenant. When
   * `tenants` is being walked through, one whose turn goes on is not met again.
   */
  pass(tenantId: string): boolean {
    const line = this.#lines.get(tenantId)
    if (line === undefined) return true
    line.left -= 1
    if (line.left > 0) return false
    line.left = line.weight
    this.#lines.delete(tenantId)
    this.#lines.set(tenantId, line)
    return true
  }
}
