/** So many failures in a row, of connects that began one after the other, and nothing is tried any more. */
const threshold = 5
/** How long nothing is tried at first; doubled by every failed probe, up to the longest. Milliseconds. */
const firstPauseMs = 500
const longestPauseMs = 10_000

export type BreakerState = 'closed' | 'open' | 'half-open'

/**
 * Whether connecting to one cluster makes sense right now: a circuit breaker (Nygard, Release It!, 2007). After
 * consecutive failures it is open; after a pause with jitter it lets one connect through as a probe (half-open), whose
 * end decides. Pure: time (milliseconds) and chance (0 to 1) are handed in.
 */
export class Breaker {
  readonly #random: () => number
  #state: BreakerState = 'closed'
  #failures = 0
  /** A connect that began before this says nothing new: it failed together with one that was counted. */
  #countedAt = Number.NEGATIVE_INFINITY
  #pauseMs = firstPauseMs
  #retryAt = 0

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  get state(): BreakerState {
    return this.#state
  }

  /** True when a connect may begin now; the caller must then begin one and report its end. An open breaker that says so is half-open. */
  tryConnect(now: number): boolean {
    if (this.#state === 'closed') return true
    if (this.#state === 'half-open' || now < this.#retryAt) return false
    this.#state = 'half-open'
    return true
  }

  /** True while `tryConnect` would say no. */
  refuses(now: number): boolean {
    return this.#state === 'half-open' || (this.#state === 'open' && now < this.#retryAt)
  }

  /** Whole seconds until trying again makes sense, at least 1. */
  retryAfter(now: number): number {
    return Math.max(1, Math.ceil((this.#retryAt - now) / 1_000))
  }

  /** The server answered, be it with a refusal of its own. */
  succeeded(): void {
    this.#state = 'closed'
    this.#failures = 0
    this.#pauseMs = firstPauseMs
  }

  /**
   * The cluster could not be reached by a connect that began at `began`. Counts one, and one more for each second it
   * took: a server that says nothing is found out by one connect, because every further one keeps people waiting.
   */
  failed(began: number, now: number): void {
    if (this.#state === 'open' || (this.#state === 'closed' && began < this.#countedAt)) return
    if (this.#state === 'half-open') {
      // One that began before the probe may end while the probe is under way, and decides as well as it.
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2)
      this.#open(now)
      return
    }
    this.#countedAt = now
    this.#failures += 1 + Math.floor((now - began) / 1_000)
    if (this.#failures >= threshold) this.#open(now)
  }

  #open(now: number): void {
    this.#state = 'open'
    this.#failures = 0
    // Between half of the pause and the whole: nodes that lost the cluster together do not come back together.
    this.#retryAt = now + this.#pauseMs * (0.5 + 0.5 * this.#random())
  }
}
