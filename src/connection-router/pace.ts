/** Who is served is counted over this part of what one may wait. */
const windowPart = 0.8
/** So many may wait in any case. */
const alwaysWelcome = 64
/** A line that takes so many such windows, and one more may have been counted, would outlast everybody's patience three times. */
const mostWindows = 4

/** How fast those who wait for connections of a tenant are served, so that nobody joins a line in vain. Times in milliseconds. */
export class Pace {
  #windowSince = 0
  #served = 0
  /** In the window before; not known in the first one, in which everybody has hope. */
  #servedBefore = Number.POSITIVE_INFINITY

  /** Somebody begins to wait, where nobody did. */
  begin(now: number): void {
    this.#windowSince = now
    this.#served = 0
    this.#servedBefore = Number.POSITIVE_INFINITY
  }

  /** One of those who waited has got what they waited for. */
  served(): void {
    this.#served += 1
  }

  /** True when someone behind `ahead` others would hardly be served within `patienceMs`, as things went of late. */
  isInVain(ahead: number, now: number, patienceMs: number): boolean {
    if (ahead < alwaysWelcome) return false
    if (now - this.#windowSince >= patienceMs * windowPart) {
      this.#windowSince = now
      this.#servedBefore = this.#served
      this.#served = 0
    }
    return ahead > mostWindows * (this.#servedBefore + this.#served)
  }
}
