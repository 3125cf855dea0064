import { randomFrom, zipfFrom } from '../../test/helpers/random.ts'

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
  const random = randomFrom(seed)
  return spread === 'even' ? () => Math.floor(random() * tenants) : zipfFrom(tenants, random)
}
