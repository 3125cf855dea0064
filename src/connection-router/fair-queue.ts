/** A place in the queue. */
export type Ticket<T> = { readonly tenantId: string; readonly item: T }

/**
 * Waiting work, in turns: round robin between tenants, first in first out within one. A tenant that has waiting work
 * for the first time joins at the end of the round, so nobody waits for more than one turn of each other tenant.
 * Every operation takes constant time.
 */
export class FairQueue<T> {
  /** In order of turns: the first tenant is next. A line is in order of arrival. */
  readonly #lines = new Map<string, Set<Ticket<T>>>()
  #size = 0

  get size(): number {
    return this.#size
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

  /** Takes the tenant's oldest waiting work out, and ends the tenant's turn. */
  take(tenantId: string): T | undefined {
    const ticket = this.#lines.get(tenantId)?.values().next().value
    if (ticket === undefined) return undefined
    this.remove(ticket)
    this.pass(tenantId)
    return ticket.item
  }

  /** Ends the tenant's turn: it is next again after every other tenant. */
  pass(tenantId: string): void {
    const line = this.#lines.get(tenantId)
    if (line === undefined) return
    this.#lines.delete(tenantId)
    this.#lines.set(tenantId, line)
  }
}
