import { FrequencySketch } from './frequency.ts'

/** Of the places, this part belongs to newcomers, and at least one place does. */
const windowPart = 0.05
/** So many of the least recently used are compared. More does not find a better victim; see the test. */
const candidates = 8
/** Uses per place until counters are halved: long enough to tell the last that fits from the first that does not. */
const sampleUses = 32
/** Counters in a row of the sketch: 16 kB in all, for some thousand tenants that matter. */
const sketchWidth = 4_096

/** A thing that has a place: it is found by its key's frequency. */
export type Resident = { readonly tenantId: string }

/**
 * Who should keep a place when there are fewer places than tenants: W-TinyLFU (Einziger, Friedman, Manes 2017), told
 * for residents that can't be refused. A newcomer enters a small window in order of use. Who is pushed out of the window
 * competes with the least frequent of the main part's least recently used: the less frequent one goes. So those who
 * come once pass through the window and never touch the main part, and a newcomer keeps its place for as many
 * further newcomers as the window is wide. Pure: knows no connections and no time.
 */
export class Residents<T extends Resident> {
  /** The least recently used first, in both. */
  readonly #window = new Set<T>()
  readonly #main = new Set<T>()
  readonly #uses: FrequencySketch
  #places: number

  constructor(places: number, seed: number) {
    this.#places = Math.max(1, places)
    this.#uses = new FrequencySketch(sketchWidth, seed)
  }

  /** How many places there are; may change at any time. */
  setPlaces(places: number): void {
    this.#places = Math.max(1, places)
  }

  has(resident: T): boolean {
    return this.#window.has(resident) || this.#main.has(resident)
  }

  /** Counts a use of this tenant, resident or not. */
  record(tenantId: string): void {
    this.#uses.record(tenantId, sampleUses * this.#places)
  }

  /** It has a place now: in the window. While the main part has room, the window's oldest moves there. */
  add(resident: T): void {
    this.#window.add(resident)
    const room = this.#places - this.#windowSize - this.#main.size
    if (this.#window.size <= this.#windowSize || room <= 0) return
    for (const oldest of this.#window) {
      this.#promote(oldest)
      return
    }
  }

  /** It is the most recently used now. Nothing happens to one without a place. */
  touch(resident: T): void {
    const part = this.#window.delete(resident)
      ? this.#window
      : this.#main.delete(resident)
        ? this.#main
        : undefined
    part?.add(resident)
  }

  delete(resident: T): void {
    if (!this.#window.delete(resident)) this.#main.delete(resident)
  }

  /** The one of those that `mayGo` whose place should go to a newcomer. */
  victim(mayGo: (resident: T) => boolean): T | undefined {
    const newcomer = this.#window.size < this.#windowSize ? undefined : firstOf(this.#window, mayGo)
    const settled = this.#leastFrequent(mayGo)
    if (settled === undefined) return newcomer ?? firstOf(this.#window, mayGo)
    if (newcomer === undefined) return settled
    if (this.#uses.of(newcomer.tenantId) <= this.#uses.of(settled.tenantId)) return newcomer
    this.#promote(newcomer)
    return settled
  }

  get #windowSize(): number {
    return Math.max(1, Math.floor(this.#places * windowPart))
  }

  #promote(resident: T): void {
    this.#window.delete(resident)
    this.#main.add(resident)
  }

  #leastFrequent(mayGo: (resident: T) => boolean): T | undefined {
    let [least, uses, seen] = [undefined as T | undefined, Number.POSITIVE_INFINITY, 0]
    for (const resident of this.#main) {
      if (!mayGo(resident)) continue
      const own = this.#uses.of(resident.tenantId)
      if (own < uses) [least, uses] = [resident, own]
      seen += 1
      if (seen === candidates) break
    }
    return least
  }
}

const firstOf = <T>(of: Iterable<T>, mayGo: (resident: T) => boolean): T | undefined => {
  for (const resident of of) if (mayGo(resident)) return resident
  return undefined
}
