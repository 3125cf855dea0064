import type { AppError } from '../kernel/errors.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import { clusterIsAway, unavailable, wasStaleSocket } from './connect-errors.ts'

/**
 * Connects to one cluster at once. Few are enough to keep the server's postmaster busy (4 in 5 ms are 800 a second; it was
 * never seen to do more than 450 on two cores), and each that is under way holds a permit, and mostly another one that is
 * closing, with which a tenant could be served: 12 at once cost a fifth more connects when tenants outnumber connections.
 */
export const maxConnecting = 4

/** One connect under way; it ends once, with the error if it failed. */
export type Attempt = { end(error?: unknown): void }

/**
 * Decides whether a connect to one cluster may begin now: not too many at once, none while the cluster is away, and none
 * while this node may open nothing.
 */
export class ConnectGate {
  readonly #breaker: Breaker
  readonly #now: () => number
  readonly #mayOpen: () => boolean
  #connecting = 0

  /** `now` in milliseconds; `random` from 0 to 1. */
  constructor(now: () => number, mayOpen: () => boolean = () => true, random?: () => number) {
    this.#now = now
    this.#mayOpen = mayOpen
    this.#breaker = new Breaker(random)
  }

  get breaker(): BreakerState {
    return this.#breaker.state
  }

  /** How many more connects may begin now. */
  get room(): number {
    return this.away || !this.#mayOpen() ? 0 : maxConnecting - this.#connecting
  }

  /** True while nothing is tried: who has no connection to the cluster need not wait for one. */
  get away(): boolean {
    return this.#breaker.refuses(this.#now())
  }

  /** What they are told. */
  get refusal(): AppError {
    return unavailable(new Error('the cluster is away'), this.#breaker.retryAfter(this.#now()))
  }

  /** Undefined when no connect may begin now. */
  begin(): Attempt | undefined {
    const began = this.#now()
    if (this.room === 0 || !this.#breaker.tryConnect(began)) return undefined
    this.#connecting += 1
    const end = (error?: unknown): void => {
      this.#connecting -= 1
      // A probe must end, whichever way.
      if (wasStaleSocket(error) && this.#breaker.state === 'closed') return
      if (error !== undefined && clusterIsAway(error)) this.#breaker.failed(began, this.#now())
      else this.#breaker.succeeded()
    }
    return { end }
  }
}
