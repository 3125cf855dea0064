import { FrequencySketch } from './frequency.ts'

/**
 * After so many uses per place a use counts for half. More, and tenants that came for a while and left keep their places too
 * long; fewer, and the last that fits can't be told from the first that does not; see the tests.
 */
const halfLifeUses = 8
/** Of the places, this part belongs to those who came last. */
const newcomersPart = 0.1
/** So many at most are compared, the least recently used first: finding a victim shall cost little beside a connect. */
const mostCompared = 256
/** Sums in a row of the sketch: 64 kB in all, for some thousand tenants that matter. With many more, cold ones look warmer. */
const sketchWidth = 4_096

/** A thing that has a place: its uses are found by its key. */
export type Resident = { readonly tenantId: string }

/**
 * Who should keep a place when there are fewer places than tenants: LRFU (Lee et al., 2001; see `FrequencySketch`), a point
 * between keeping the most frequent, best while popularity stands still, and keeping the most recent, best while tenants
 * come for a session and leave. Who came last keeps its place for a few further newcomers, whatever it counts. Uses are
 * remembered of tenants without a place, too. Pure: knows no connections and no time.
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

  /** How many places there are; may change at any time. While there are none, nothing is forgotten for it. */
  setPlaces(places: number): void {
    if (places > 0) this.#places = places
  }

  /** Counts a use of this tenant, resident or not. */
  record(tenantId: string): void {
    this.#uses.record(tenantId, halfLifeUses * this.#places)
  }

  /** It has a place, from now on if it had none, and is the most recently used. */
  touch(resident: T): void {
    const arrival = this.#arrivals.get(resident) ?? ++this.#arrived
    this.#arrivals.delete(resident)
    this.#arrivals.set(resident, arrival)
  }

  delete(resident: T): void {
    this.#arrivals.delete(resident)
  }

  /** The one of those that `mayGo` whose place should go to another: one who came last only when nobody else may. */
  victim(mayGo: (resident: T) => boolean): T | undefined {
    const newcomers = Math.floor(this.#places * newcomersPart)
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
