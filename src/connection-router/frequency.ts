/** Counters stop here, four bits' worth: what was hot an hour ago is forgotten after four halvings. */
const maxCount = 15
const rows = 4
const rowSeeds = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f] as const

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
 * About how often each key was used lately, in bounded memory whatever the number of keys: a count-min sketch with
 * conservative update whose counters are halved every `sampleSize` uses, as in Einziger, Friedman, Manes: TinyLFU, ACM
 * Transactions on Storage 13(4), 2017. It may overstate, never by much, and understates only by ageing.
 */
export class FrequencySketch {
  readonly #counts: Uint8Array
  readonly #width: number
  readonly #seed: number
  readonly #at: number[] = [0, 0, 0, 0]
  #used = 0

  /** `width` counters in each of four rows: more than the number of keys that matter. */
  constructor(width: number, seed: number) {
    this.#width = width
    this.#seed = seed
    this.#counts = new Uint8Array(rows * width)
  }

  /** Counts one use; halves everything after `sampleSize` uses. */
  record(key: string, sampleSize: number): void {
    const least = this.of(key)
    if (least < maxCount) {
      for (const at of this.#at) if (this.#counts[at] === least) this.#counts[at] = least + 1
    }
    this.#used += 1
    if (this.#used < sampleSize) return
    this.#used = 0
    for (let i = 0; i < this.#counts.length; i++) this.#counts[i] = (this.#counts[i] ?? 0) >>> 1
  }

  /** From 0 to 15. */
  of(key: string): number {
    const h = hash(key, this.#seed)
    let least = maxCount
    for (let row = 0; row < rows; row++) {
      const at = row * this.#width + (mix(h ^ (rowSeeds[row] ?? 0)) % this.#width)
      this.#at[row] = at
      least = Math.min(least, this.#counts[at] ?? 0)
    }
    return least
  }
}
