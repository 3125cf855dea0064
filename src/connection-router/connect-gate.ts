import type { AppError } from '../kernel/errors.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import { clusterIsAway, unavailable, wasStaleSocket } from './connect-errors.ts'

/**
 * Connects to one cluster at once, from this node. Few are enough to keep the server's postmaster busy (4 in 5 ms are 800 a
 * second; it was never seen to do more than 450 on two cores), and each that is under way holds a permit, and mostly another one
 * that is closing, with which a tenant could be served: 8 at once cost a seventh more connects when tenants outnumber connections.
 */
export const maxConnecting = 4
/** When more tenants wait than can have a connection, each loses it soon in any case, and what counts is how many are opened. */
export const maxConnectingInStorm = 8

/** One connect under way; it ends once, with the error if it failed. */
export type Attempt = { end(error?: unknown): void }

/** `now` in milliseconds; `random` from 0 to 1; `isStorm` says whether more tenants wait than can have a connection. */
export type GateOptions = Readonly<{
  now: () => number
  isStorm: () => boolean
  mayOpen?: (() => boolean) | undefined
  random?: (() => number) | undefined
}>

/**
 * Decides whether a connect to one cluster may begin now: not too many at once, none while the cluster is away, and none
 * while this node may open nothing.
 */
export class ConnectGate {
  readonly #breaker: Breaker
  readonly #now: () => number
  readonly #mayOpen: () => boolean
  readonly #isStorm: () => boolean
  #connecting = 0

  constructor({ now, isStorm, mayOpen = () => true, random }: GateOptions) {
    this.#now = now
    this.#isStorm = isStorm
    this.#mayOpen = mayOpen
    this.#breaker = new Breaker(random)
  }

  get breaker(): BreakerState {
    return this.#breaker.state
  }

  /** How many more connects may begin now. */
  get room(): number {
    if (this.away || !this.#mayOpen()) return 0
    return Math.max(0, (this.#isStorm() ? maxConnectingInStorm : maxConnecting) - this.#connecting)
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
