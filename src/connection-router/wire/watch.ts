/** One tick. Coarse enough to cost nothing, fine enough for `slowTicks`. Milliseconds. */
const tickMs = 5

/** Something whose progress is watched. False when there is nothing to watch any more. */
export type Watched = { onTick(tick: number): boolean }

/** What is needed of the watch. */
export type Ticks = {
  /** The current tick. */
  readonly now: number
  /** Calls `onTick` from the next tick on, until it answers false. */
  add(watched: Watched): void
}

/**
 * A clock that only counts turns in which answers could have been read: each tick is a timer and then a whole poll for
 * input. So "this statement is 3 ticks old" means that the server has not answered for at least 10 ms, however
 * long this process itself was busy; with the wall clock a busy node would blame the database. It stands still while
 * nothing is in flight.
 */
export class Watch implements Ticks {
  #now = 0
  readonly #watched = new Set<Watched>()
  #timer: NodeJS.Timeout | undefined

  get now(): number {
    return this.#now
  }

  add(watched: Watched): void {
    this.#watched.add(watched)
    this.#timer ??= this.#arm()
  }

  #arm(): NodeJS.Timeout {
    // The immediate runs after the poll that follows the timer.
    return setTimeout(() => setImmediate(() => this.#tick()), tickMs).unref()
  }

  #tick(): void {
    this.#now += 1
    for (const watched of this.#watched) if (!watched.onTick(this.#now)) this.#watched.delete(watched)
    this.#timer = this.#watched.size === 0 ? undefined : this.#arm()
  }
}

/** Ticks in so many milliseconds, at least. */
export const ticksIn = (ms: number): number => Math.ceil(ms / tickMs)

/**
 * A connection whose oldest statement has waited longer than this takes no further ones: 10 to 15 ms, about two
 * connects (5 ms with SCRAM). Opening a second connection earlier would cost more than waiting.
 */
export const slowTicks = 3
