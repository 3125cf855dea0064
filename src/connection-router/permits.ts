/** The right to one server connection. Given back exactly once: a second time changes nothing. */
export type Permit = { readonly tenantId: string; giveBack(): void }

/** Counts the server connections that one cluster may receive from this node, and who has them. */
export class Permits {
  readonly total: number
  #used = 0
  readonly #held = new Map<string, number>()

  constructor(total: number) {
    if (!Number.isInteger(total) || total < 1)
      throw new RangeError('a budget is a whole number of at least 1')
    this.total = total
  }

  get used(): number {
    return this.#used
  }

  get free(): number {
    return this.total - this.#used
  }

  /** How many permits this tenant has, over all of its pools. */
  held(tenantId: string): number {
    return this.#held.get(tenantId) ?? 0
  }

  /** One permit, or undefined when none is free. */
  take(tenantId: string): Permit | undefined {
    if (this.#used >= this.total) return undefined
    this.#used += 1
    this.#held.set(tenantId, this.held(tenantId) + 1)
    let out = true
    const giveBack = (): void => {
      if (!out) return
      out = false
      this.#used -= 1
      const left = this.held(tenantId) - 1
      if (left === 0) this.#held.delete(tenantId)
      else this.#held.set(tenantId, left)
    }
    return { tenantId, giveBack }
  }
}
