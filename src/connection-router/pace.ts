/** Who is served is counted over this part of what one may wait. */
const windowPart = 0.8
/** So many may wait in any case. */
const alwaysWelcome = 64
/** Four windows are more than three times what anybody waits: who would need that long would wait in vain. */
const mostWindows = 4

/** How fast a tenant's requests get what they need, so that none joins a line in vain. Times in milliseconds. */
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

  /** One of the tenant's requests has got what it needs, whether it had to wait or not. */
  served(): void {
    this.#served += 1
  }

  /**
   * True when someone behind `ahead` others would hardly be served within `patienceMs`, as things went in this window and the one
   * before. A window that has lasted is closed here, so it may be longer when nobody asked.
   */
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
