/** A generator of numbers from 0 to 1 that gives the same ones for the same seed (mulberry32). */
export const seededRandom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** How requests fall on tenants: all alike, or the k-th most popular one in proportion to 1/k. */
export type Spread = 'even' | 'zipf'

/** The part of all requests that each of `tenants` gets, the most popular first. */
export const shares = (spread: Spread, tenants: number): number[] => {
  const weights = Array.from({ length: tenants }, (_, i) => (spread === 'even' ? 1 : 1 / (i + 1)))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return weights.map((weight) => weight / sum)
}

/** Draws tenants, as numbers from 0, each time independently of all before. */
export const drawTenants = (spread: Spread, tenants: number, seed: number): (() => number) => {
  const random = seededRandom(seed)
  if (spread === 'even') return () => Math.floor(random() * tenants)
  let sum = 0
  const upTo = shares(spread, tenants).map((share) => {
    sum += share
    return sum
  })
  return () => {
    const x = random()
    let [low, high] = [0, tenants - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((upTo[middle] ?? 1) < x) low = middle + 1
      else high = middle
    }
    return low
  }
}
