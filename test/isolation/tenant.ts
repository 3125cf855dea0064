import type { TenantFacts } from './world.ts'

/** A person of a tenant, and the access token they work with, once they have signed in. */
export type Member = { readonly personId: string; token: Promise<string> | undefined; sessionId: string }

const memberOf = (personId: string): Member => ({ personId, token: undefined, sessionId: '' })

/** What the fuzz knows of a tenant as the run goes on. */
export class Tenant {
  readonly facts: TenantFacts
  readonly admin: Member
  readonly wanderer: Member
  /** One of those that trade databases with one another: it is only read, so that its canary stays where it is. */
  readonly trades: boolean
  slug: string
  /** True while somebody changes it in the master. */
  changing = false
  /** Projects made in this run. */
  readonly made: string[] = []
  /** Whose database it has held, one entry a change; two while a trade is under way. */
  readonly #canaries: (readonly number[])[]

  constructor(facts: TenantFacts, trades: boolean) {
    this.facts = facts
    this.trades = trades
    this.slug = facts.slug
    this.admin = memberOf(facts.admin)
    this.wanderer = memberOf(facts.wanderer)
    this.#canaries = [[facts.index]]
  }

  /** To be kept by whoever begins a request; see `allowedSince`. */
  get moment(): number {
    return this.#canaries.length - 1
  }

  /** The canaries that a request which began at `moment` and ends now may have met. */
  allowedSince(moment: number): Set<number> {
    return new Set(this.#canaries.slice(moment).flat())
  }

  /** The number of the tenant whose database it holds now. */
  get holds(): number {
    return this.#canaries.at(-1)?.[0] ?? -1
  }

  /** From now on it may show these. */
  show(...canaries: number[]): void {
    this.#canaries.push(canaries)
  }
}
