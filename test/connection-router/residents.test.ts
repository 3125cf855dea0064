import t from 'tap'
import { FrequencySketch } from '../../src/connection-router/frequency.ts'
import { type Resident, Residents } from '../../src/connection-router/residents.ts'

/** Mulberry32: the same numbers for the same seed, from 0 to 1. */
const seeded = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
  return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
}

/** Picks 0 to count - 1, the first `1 / 1`, the second `1 / 2` and so on. */
const zipf = (count: number, random: () => number) => {
  const sums: number[] = []
  for (let i = 1; i <= count; i++) sums.push((sums.at(-1) ?? 0) + 1 / i)
  return (): number => {
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

const harmonic = (n: number): number =>
  Array.from({ length: n }, (_, i) => 1 / (i + 1)).reduce((a, b) => a + b)

const places = 80
const tenants = 500
/** The best that can be done without knowing the future: keep the hottest, and one place for all others. */
const bestStaticMiss = 1 - harmonic(places - 1) / harmonic(tenants)

/** A cache that only says whether it had it. */
type Cache = { use(tenant: string): boolean; has(tenant: string): boolean }

const frequent = (): Cache => {
  const residents = new Residents<Resident>(places, 7)
  const present = new Map<string, Resident>()
  const use = (tenantId: string): boolean => {
    residents.record(tenantId)
    const known = present.get(tenantId)
    if (known !== undefined) {
      residents.touch(known)
      return true
    }
    if (present.size === places) {
      const victim = residents.victim(() => true)
      if (victim === undefined) throw new Error('nobody goes')
      residents.delete(victim)
      present.delete(victim.tenantId)
    }
    const resident = { tenantId }
    present.set(tenantId, resident)
    residents.add(resident)
    return false
  }
  return { use, has: (tenantId) => present.has(tenantId) }
}

const leastRecentlyUsed = (): Cache => {
  const present = new Set<string>()
  const use = (tenant: string): boolean => {
    const hit = present.delete(tenant)
    present.add(tenant)
    const [oldest] = present
    if (present.size > places && oldest !== undefined) present.delete(oldest)
    return hit
  }
  return { use, has: (tenant) => present.has(tenant) }
}

const missRate = (cache: Cache, uses: number, pick: () => string): number => {
  let misses = 0
  for (let i = 0; i < uses; i++) if (!cache.use(pick())) misses += 1
  return misses / uses
}

const warmed = (cache: Cache, pick: () => string): Cache => {
  missRate(cache, 20_000, pick)
  return cache
}

/** What a router asks of whoever decides who keeps a place. */
type Policy = Pick<Residents<Resident>, 'record' | 'add' | 'touch' | 'delete' | 'victim'>

/** Knows who is popular: gives up the one with the highest number. */
const knowing = (): Policy => {
  const present = new Map<Resident, number>()
  return {
    record: () => {},
    add: (resident) => present.set(resident, Number(resident.tenantId.split('-')[1])),
    touch: () => {},
    delete: (resident) => present.delete(resident),
    victim: (mayGo) => {
      let last: [Resident | undefined, number] = [undefined, -1]
      for (const entry of present) if (entry[1] > last[1] && mayGo(entry[0])) last = entry
      return last[0]
    },
  }
}

/**
 * Connects for each request when 64 clients ask again as soon as they are answered. Four connects are under way at a time; when
 * the oldest is done, all that wait for its tenant are served, and it is in use until two more are done.
 */
const connectsPerRequest = (policy: Policy, requests: number, draw: () => number): number => {
  const all = Array.from({ length: tenants }, (_, i) => ({ tenantId: `tenant-${i}` }))
  const [open, inUse, opening] = [new Set<Resident>(), [] as Resident[], [] as Resident[]]
  const waiting = new Map<Resident, number>()
  let [served, connects] = [0, 0]
  const ask = (): void => {
    for (;;) {
      const resident = all[draw()]
      if (resident === undefined) throw new Error('nobody')
      policy.record(resident.tenantId)
      if (!open.has(resident)) {
        waiting.set(resident, (waiting.get(resident) ?? 0) + 1)
        return
      }
      policy.touch(resident)
      served += 1
    }
  }
  const connect = (): void => {
    for (const resident of waiting.keys()) {
      if (opening.length === 4) return
      if (opening.includes(resident)) continue
      if (open.size + opening.length === places) {
        const victim = policy.victim((other) => open.has(other) && !inUse.includes(other))
        if (victim === undefined) throw new Error('nobody goes')
        policy.delete(victim)
        open.delete(victim)
      }
      policy.add(resident)
      opening.push(resident)
      connects += 1
    }
  }
  for (let client = 0; client < 64; client++) ask()
  for (let from = 0; served < requests; ) {
    connect()
    const done = opening.shift()
    if (done === undefined) throw new Error('nobody waits')
    open.add(done)
    if (inUse.push(done) > 2) inUse.shift()
    const clients = waiting.get(done) ?? 0
    waiting.delete(done)
    served += clients
    for (let client = 0; client < clients; client++) ask()
    // The first half is for getting to know them.
    if (from === 0 && served >= requests / 2) {
      from = served
      connects = 0
    }
  }
  return connects / (requests / 2)
}

t.test(
  'while connects take their time: hardly more of them than by who knows whom they will ask for',
  async (t) => {
    for (const seed of [1, 2, 3]) {
      const ours = connectsPerRequest(new Residents(places, 7), 20_000, zipf(tenants, seeded(seed)))
      const best = connectsPerRequest(knowing(), 20_000, zipf(tenants, seeded(seed)))
      t.ok(ours <= 1.09 * best, `${ours.toFixed(4)} to ${best.toFixed(4)}`)
    }
  },
)

t.test(
  'tenants that come for a session and leave: not many more misses than with least recently used',
  async (t) => {
    const sessions = (seed: number) => {
      const random = seeded(seed)
      const present = Array.from({ length: 60 }, (_, i) => i)
      let next = present.length
      return (): string => {
        const at = Math.floor(random() * present.length)
        const tenant = `tenant-${present[at]}`
        if (random() < 1 / 30) present[at] = next++
        return tenant
      }
    }
    const ours = missRate(warmed(frequent(), sessions(1)), 50_000, sessions(2))
    const plain = missRate(warmed(leastRecentlyUsed(), sessions(1)), 50_000, sessions(2))
    t.ok(ours <= 2.5 * plain, `${ours.toFixed(4)} to ${plain.toFixed(4)}`)
  },
)

t.test(
  '500 tenants by Zipf over 80 places: within 1.15 of the best static set, where LRU is not',
  async (t) => {
    for (const seed of [1, 2, 3]) {
      const draw = zipf(tenants, seeded(seed))
      const pick = (): string => `tenant-${draw()}`
      const ours = missRate(warmed(frequent(), pick), 50_000, pick) / bestStaticMiss
      const plain = missRate(warmed(leastRecentlyUsed(), pick), 50_000, pick) / bestStaticMiss
      t.ok(ours <= 1.15, `${ours.toFixed(3)} of the best static set's miss rate`)
      t.ok(plain > 1.3, `${plain.toFixed(3)} with least recently used`)
    }
  },
)

t.test('a thousand tenants that come once do not push the hot ones out', async (t) => {
  const survivors = (cache: Cache): number => {
    const random = seeded(4)
    const hot = Array.from({ length: 60 }, (_, i) => `hot-${i}`)
    warmed(cache, () => hot[Math.floor(random() * hot.length)] ?? '')
    for (let i = 0; i < 1_000; i++) cache.use(`once-${i}`)
    return hot.filter((tenant) => cache.has(tenant)).length
  }
  // Up to the window's four may have been there when it began.
  t.ok(survivors(frequent()) >= 56)
  t.equal(survivors(leastRecentlyUsed()), 0)
})

t.test('a newcomer keeps its place until the next one comes, then it is the first to go', async (t) => {
  const residents = new Residents<Resident>(14, 7)
  const [hot, warm, cold, late] = ['hot', 'warm', 'cold', 'late'].map((tenantId) => ({ tenantId }))
  if (!hot || !warm || !cold || !late) throw new Error('unreachable')
  for (const resident of [hot, warm]) {
    for (let i = 0; i < 5; i++) residents.record(resident.tenantId)
    residents.add(resident)
  }
  for (const resident of [cold, late]) {
    residents.record(resident.tenantId)
    residents.add(resident)
  }
  t.equal(
    residents.victim(() => true),
    cold,
  )
  t.equal(
    residents.victim((resident) => resident !== cold),
    hot,
    'used as often as the other, but not as lately',
  )
  t.equal(
    residents.victim((resident) => resident === late),
    late,
    'nobody else may go',
  )
  t.equal(
    residents.victim(() => false),
    undefined,
  )
})

t.test('when other tenants become the hot ones, they are followed', async (t) => {
  const draw = zipf(tenants, seeded(5))
  const cache = warmed(frequent(), () => `tenant-${draw()}`)
  const shifted = (): string => `tenant-${(draw() + tenants / 2) % tenants}`
  missRate(cache, 10_000, shifted)
  const after = missRate(cache, 10_000, shifted) / bestStaticMiss
  t.ok(after <= 1.15, `${after.toFixed(3)} of the best static set's miss rate`)
})

t.test('fewer places, and none at all, are borne', async (t) => {
  const residents = new Residents<Resident>(4, 7)
  const all = ['a', 'b', 'c', 'd'].map((tenantId) => ({ tenantId }))
  for (const resident of all) residents.add(resident)
  residents.setPlaces(0)
  for (let left = 4; left > 0; left--) {
    const victim = residents.victim(() => true)
    if (victim === undefined) throw new Error('nobody goes')
    t.ok(residents.has(victim))
    residents.delete(victim)
  }
  t.equal(
    residents.victim(() => true),
    undefined,
  )
})

t.test('a sketch: every use counts for half after so many uses of anything', async (t) => {
  const halfLife = 20
  const sketch = new FrequencySketch(256, 1)
  const random = seeded(6)
  const exact = new Map<string, number>()
  // Long enough for weights to be brought down twice.
  for (let i = 0; i < 1_000; i++) {
    const key = `key-${Math.floor(random() * 100)}`
    for (const [other, sum] of exact) exact.set(other, sum * 2 ** (-1 / halfLife))
    exact.set(key, (exact.get(key) ?? 0) + 1)
    sketch.record(key, halfLife)
  }
  for (const [key, sum] of exact) {
    t.ok(sketch.of(key) >= sum - 1e-4, `${key} is not understated`)
    t.ok(sketch.of(key) <= sum + 0.1, `${key} is hardly overstated`)
  }
  const before = sketch.of('key-1')
  for (let i = 0; i < halfLife; i++) sketch.record('another', halfLife)
  t.ok(Math.abs(sketch.of('key-1') - before / 2) < 1e-4)
  t.equal(sketch.of('never'), 0)
})
