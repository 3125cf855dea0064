/** Numbers from 0 to 1 that a seed decides (mulberry32), so that a run that failed can be repeated. */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Draws numbers from 0 to `count` - 1, the k-th in proportion to 1 / k (Zipf), each time independently of all before. */
export const zipfFrom = (count: number, random: () => number): (() => number) => {
  const sums: number[] = []
  for (let k = 1; k <= count; k += 1) sums.push((sums.at(-1) ?? 0) + 1 / k)
  return () => {
    const at = random() * (sums.at(-1) ?? 0)
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] ?? 0) > at) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** The seed of this run: `SEED` when it is set, to repeat an earlier one, else a new one. */
export const seedOfRun = (): number => Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))
