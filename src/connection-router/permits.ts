/** The right to one server connection. Given back exactly once: a second time changes nothing. */
export type Permit = { readonly tenantId: string; giveBack(): void }

const checked = (total: number): number => {
  if (!Number.isInteger(total) || total < 0) throw new RangeError('a budget is a whole number')
  return total
}

/** Counts the server connections that one cluster may receive from this node, and who has them. */
export class Permits {
  #total: number
  #used = 0
  readonly #held = new Map<string, number>()

  constructor(total: number) {
    this.#total = checked(total)
  }

  get total(): number {
    return this.#total
  }

  /** From now on so many. When more are out, none is given until enough have come back. */
  setTotal(total: number): void {
    this.#total = checked(total)
  }

  get used(): number {
    return this.#used
  }

  /** Negative while more are out than there are. */
  get free(): number {
    return this.#total - this.#used
  }

  /** How many permits this tenant has, over all of its pools. */
  held(tenantId: string): number {
    return this.#held.get(tenantId) ?? 0
  }

  /** One permit, or undefined when none is free. */
  take(tenantId: string): Permit | undefined {
    if (this.#used >= this.#total) return undefined
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
