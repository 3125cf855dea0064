import t from 'tap'
import { FrequencySketch } from '../../src/connection-router/frequency.ts'
import { type Resident, Residents } from '../../src/connection-router/residents.ts'
import { randomFrom, zipfFrom } from '../helpers/random.ts'
import { connectsPerRequest, knowing } from './eviction-simulation.ts'

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
    residents.touch(resident)
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

t.test(
  'while connects take their time: hardly more of them than by who knows whom they will ask for',
  async (t) => {
    const shape = { places, tenants, requests: 20_000 }
    for (const seed of [1, 2, 3]) {
      const ours = connectsPerRequest(new Residents(places, 7), shape, zipfFrom(tenants, randomFrom(seed)))
      const best = connectsPerRequest(knowing(), shape, zipfFrom(tenants, randomFrom(seed)))
      t.ok(ours <= 1.09 * best, `${ours.toFixed(4)} to ${best.toFixed(4)}`)
    }
  },
)

t.test(
  'tenants that come for a session and leave: not many more misses than with least recently used',
  async (t) => {
    const sessions = (seed: number) => {
      const random = randomFrom(seed)
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
    t.ok(ours <= 3 * plain, `${ours.toFixed(4)} to ${plain.toFixed(4)}`)
  },
)

t.test(
  '500 tenants by Zipf over 80 places: within 1.15 of the best static set, where LRU is not',
  async (t) => {
    for (const seed of [1, 2, 3]) {
      const draw = zipfFrom(tenants, randomFrom(seed))
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
    const random = randomFrom(4)
    const hot = Array.from({ length: 60 }, (_, i) => `hot-${i}`)
    warmed(cache, () => hot[Math.floor(random() * hot.length)] ?? '')
    for (let i = 0; i < 1_000; i++) cache.use(`once-${i}`)
    return hot.filter((tenant) => cache.has(tenant)).length
  }
  t.equal(survivors(frequent()), 60)
  t.equal(survivors(leastRecentlyUsed()), 0)
})

t.test('a newcomer keeps its place until the next one comes, then it is the first to go', async (t) => {
  const residents = new Residents<Resident>(14, 7)
  const [hot, warm, cold, late] = ['hot', 'warm', 'cold', 'late'].map((tenantId) => ({ tenantId }))
  if (!hot || !warm || !cold || !late) throw new Error('unreachable')
  for (const resident of [hot, warm]) {
    for (let i = 0; i < 5; i++) residents.record(resident.tenantId)
    residents.touch(resident)
  }
  for (const resident of [cold, late]) {
    residents.record(resident.tenantId)
    residents.touch(resident)
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
  const draw = zipfFrom(tenants, randomFrom(5))
  const cache = warmed(frequent(), () => `tenant-${draw()}`)
  const shifted = (): string => `tenant-${(draw() + tenants / 2) % tenants}`
  missRate(cache, 10_000, shifted)
  const after = missRate(cache, 10_000, shifted) / bestStaticMiss
  t.ok(after <= 1.15, `${after.toFixed(3)} of the best static set's miss rate`)
})

t.test('fewer places, and none at all, are borne', async (t) => {
  const residents = new Residents<Resident>(4, 7)
  const all = ['a', 'b', 'c', 'd'].map((tenantId) => ({ tenantId }))
  for (const resident of all) residents.touch(resident)
  residents.setPlaces(0)
  for (let left = 4; left > 0; left--) {
    const victim = residents.victim(() => true)
    if (victim === undefined) throw new Error('nobody goes')
    residents.delete(victim)
  }
  t.equal(
    residents.victim(() => true),
    undefined,
    'each went once',
  )
})

t.test('while there are no places at all, who was popular is not forgotten', async (t) => {
  const residents = new Residents<Resident>(80, 7)
  const [hot, once] = ['hot', 'once'].map((tenantId) => ({ tenantId }))
  if (!hot || !once) throw new Error('unreachable')
  for (let i = 0; i < 20; i++) residents.record(hot.tenantId)
  residents.setPlaces(0)
  for (let i = 0; i < 1_000; i++) residents.record(`other-${i}`)
  residents.record(once.tenantId)
  residents.setPlaces(2)
  for (const resident of [hot, once]) residents.touch(resident)
  t.equal(
    residents.victim(() => true),
    once,
  )
})

t.test('a sketch: every use counts for half after so many uses of anything', async (t) => {
  const halfLife = 20
  const sketch = new FrequencySketch(256, 1)
  const random = randomFrom(6)
  const exact = new Map<string, number>()
  // Long enough for a weight that is never brought down to become too large for 32 bits.
  for (let i = 0; i < 3_000; i++) {
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
