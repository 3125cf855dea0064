import { FrequencySketch } from './frequency.ts'

/**
 * After so many uses per place a use counts for half. More, and tenants that came for a while and left keep their places too
 * long; fewer, and the last that fits can't be told from the first that does not; see the tests.
 */
const halfLifeUses = 8
/** Of the places, this part belongs to the latest newcomers, the one that is about to come among them. */
const newcomersPart = 0.15
/** So many at most are compared, the least recently used first. With fewer than 64 the wrong ones go. */
const mostCompared = 256
/** Sums in a row of the sketch: 64 kB in all, for some thousand tenants that matter. */
const sketchWidth = 4_096

/** A thing that has a place: its uses are found by its key. */
export type Resident = { readonly tenantId: string }

/**
 * Who should keep a place when there are fewer places than tenants: LRFU (Lee et al., 2001; see `FrequencySketch`), which
 * between keeping the most frequent, best while popularity stands still, and keeping the most recent, best while tenants
 * come for a session and leave, is a point where both lose little. A newcomer keeps its place for a few further newcomers,
 * whatever it counts. Uses are remembered of tenants without a place, too. Pure: knows no connections and no time.
 */
export class Residents<T extends Resident> {
  /** Each with the number of its arrival; the least recently used first. */
  readonly #arrivals = new Map<T, number>()
  readonly #uses: FrequencySketch
  #places: number
  #arrived = 0

  constructor(places: number, seed: number) {
    this.#places = Math.max(1, places)
    this.#uses = new FrequencySketch(sketchWidth, seed)
  }

  /** How many places there are; may change at any time. */
  setPlaces(places: number): void {
    this.#places = Math.max(1, places)
  }

  has(resident: T): boolean {
    return this.#arrivals.has(resident)
  }

  /** Counts a use of this tenant, resident or not. */
  record(tenantId: string): void {
    this.#uses.record(tenantId, halfLifeUses * this.#places)
  }

  /** It has a place now. */
  add(resident: T): void {
    this.#arrived += 1
    this.#arrivals.set(resident, this.#arrived)
  }

  /** It is the most recently used now. Nothing happens to one without a place. */
  touch(resident: T): void {
    const arrival = this.#arrivals.get(resident)
    if (arrival === undefined) return
    this.#arrivals.delete(resident)
    this.#arrivals.set(resident, arrival)
  }

  delete(resident: T): void {
    this.#arrivals.delete(resident)
  }

  /** The one of those that `mayGo` whose place should go to a newcomer: a late one itself only when nobody else may. */
  victim(mayGo: (resident: T) => boolean): T | undefined {
    const newcomers = Math.floor(this.#places * newcomersPart) - 1
    let [least, uses, compared] = [undefined as T | undefined, Number.POSITIVE_INFINITY, 0]
    let newcomer: T | undefined
    for (const [resident, arrival] of this.#arrivals) {
      if (!mayGo(resident)) continue
      if (arrival > this.#arrived - newcomers) {
        newcomer ??= resident
        continue
      }
      const own = this.#uses.of(resident.tenantId)
      if (own < uses) [least, uses] = [resident, own]
      compared += 1
      if (compared === mostCompared) break
    }
    return least ?? newcomer
  }
}
