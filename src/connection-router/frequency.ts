const rows = 4
const rowSeeds = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f] as const
/** Everything is divided by the weight of a use when that has become so large: long before sums are too large for 32 bits. */
const largestWeight = 2 ** 20

/** FNV-1a, 32 bits. The seed makes it useless to choose ids that share counters. */
const hash = (key: string, seed: number): number => {
  let h = 0x811c9dc5 ^ seed
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193)
  return h
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
const mix = (h: number): number => {
  let x = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/**
 * How often and how lately each key was used, in one number: the sum over its uses of `1 / 2 ** (uses of anything since /
 * halfLife)`, which Lee et al., LRFU: a spectrum of policies that subsumes the least recently used and least frequently used
 * policies, IEEE Transactions on Computers 50(12), 2001, call combined recency and frequency. In bounded memory whatever
 * the number of keys: a count-min sketch with conservative update. It may overstate, by little while no more than a few
 * thousand keys matter. Sums do not lose weight with each use; each use weighs more than the one before instead (forward decay;
 * Cormode et al., 2009).
 */
export class FrequencySketch {
  readonly #sums: Float32Array
  readonly #width: number
  readonly #seed: number
  readonly #at: number[] = [0, 0, 0, 0]
  /** What a use weighs now. */
  #weight = 1

  /** `width` sums in each of four rows: more than the number of keys that matter. */
  constructor(width: number, seed: number) {
    this.#width = width
    this.#seed = seed
    this.#sums = new Float32Array(rows * width)
  }

  /** Counts one use. `halfLife`: after so many uses of anything it counts for half. */
  record(key: string, halfLife: number): void {
    this.#weight *= 2 ** (1 / halfLife)
    const sum = this.#sumOf(key) + this.#weight
    for (const at of this.#at) if ((this.#sums[at] ?? 0) < sum) this.#sums[at] = sum
    if (this.#weight >= largestWeight) this.#shrink()
  }

  /** About 0 for a key that was never used, 1 after a first use. */
  of(key: string): number {
    return this.#sumOf(key) / this.#weight
  }

  /** Leaves in `#at` where the sums of this key are. */
  #sumOf(key: string): number {
    const h = hash(key, this.#seed)
    let least = Number.POSITIVE_INFINITY
    for (let row = 0; row < rows; row++) {
      const at = row * this.#width + (mix(h ^ (rowSeeds[row] ?? 0)) % this.#width)
      this.#at[row] = at
      least = Math.min(least, this.#sums[at] ?? 0)
    }
    return least
  }

  #shrink(): void {
    for (let i = 0; i < this.#sums.length; i++) this.#sums[i] = (this.#sums[i] ?? 0) / this.#weight
    this.#weight = 1
  }
}
