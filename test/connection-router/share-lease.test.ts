import t from 'tap'
import { type Claim, type Grant, ShareLease } from '../../src/connection-router/share-lease.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { until } from './world.ts'

const leaseMs = 600

/** A register with one cluster whose answers the test decides, and a router that notes what it is told. */
const startLease = (answer: (claims: ReadonlyMap<string, Claim>) => Promise<Grant[]>) => {
  const seen = { claims: [] as Claim[], shares: [] as number[], lost: 0, left: 0, inUse: 0 }
  const warnings: string[] = []
  const lease = new ShareLease({
    renew: (claims) => {
      seen.claims.push(claims.get('main') ?? { claim: 0, inUse: 0 })
      return answer(claims)
    },
    leave: async () => {
      seen.left += 1
    },
    leaseMs,
    inUse: () => seen.inUse,
    onShare: (_, share) => {
      seen.shares.push(share)
    },
    onLost: () => {
      seen.lost += 1
    },
    log: createLogger('warn', { write: (line) => void warnings.push(line) }),
  })
  return { lease, seen, warnings }
}

const granted = (target: number, all = target): Grant[] => [
  { clusterId: 'main', nodes: 1, whole: 10, target, granted: all },
]

t.test(
  'it keeps to the smaller of what is fair and what is free, and says so at the next beat',
  async (t) => {
    const answers = [granted(8), granted(4, 8)]
    const { lease, seen } = startLease(async () => answers.shift() ?? granted(4))
    t.equal(lease.shareOf('main'), 0, 'nothing before the first answer')
    t.notOk(lease.holds)
    await lease.open()
    t.ok(lease.holds)
    seen.inUse = 6
    await until(() => seen.claims.length >= 3)
    await lease.close()
    t.same(seen.shares, [8, 4])
    t.same(seen.claims.slice(0, 3), [
      { claim: 0, inUse: 0 },
      { claim: 8, inUse: 6 },
      { claim: 6, inUse: 6 },
    ])
  },
)

t.test('opening waits for a first connection, as long as a dead node may keep it', async (t) => {
  const answers = [granted(5, 0), granted(5, 0)]
  const { lease, seen, warnings } = startLease(async () => answers.shift() ?? granted(5))
  await lease.open()
  t.equal(lease.shareOf('main'), 5)
  t.same(seen.shares, [0, 5])
  await lease.close()
  t.same(warnings, [])
  const starved = startLease(async () => granted(5, 0))
  await starved.lease.open()
  t.equal(starved.lease.shareOf('main'), 0)
  t.equal(starved.warnings.length, 1)
  t.match(JSON.parse(starved.warnings[0] ?? ''), {
    clusterId: 'main',
    nodes: 1,
    whole: 10,
    msg: /no connection is left/,
  })
  await starved.lease.close()
})

t.test('without a register at the start there is no lease', async (t) => {
  const { lease } = startLease(() => Promise.reject(new Error('refused')))
  await t.rejects(lease.open(), { message: 'refused' })
  await lease.close()
})

t.test(
  'cut off from the register: first nothing opens, then all is cut, both before the lease ends',
  async (t) => {
    let cutOff = false
    let lastAsked = 0
    const { lease, seen } = startLease(async () => {
      if (cutOff) throw new Error('unreachable')
      lastAsked = performance.now()
      return granted(5)
    })
    await lease.open()
    cutOff = true
    await until(() => !lease.holds)
    t.equal(lease.shareOf('main'), 0)
    t.ok(performance.now() - lastAsked < leaseMs)
    t.equal(seen.lost, 0, 'what is under way may still end')
    await until(() => seen.lost === 1)
    t.same(seen.shares, [5, 0])
    seen.inUse = 2
    cutOff = false
    await until(() => lease.holds)
    t.same(seen.claims.at(-1), { claim: 2, inUse: 2 }, 'it claims what it has and nothing else')
    t.same(seen.shares, [5, 0, 5])
    await lease.close()
  },
)

t.test('an answer that never comes, or comes late, renews nothing', async (t) => {
  let slow = false
  const { lease, seen } = startLease(async () => {
    if (slow) await new Promise((resolve) => setTimeout(resolve, leaseMs))
    return granted(5)
  })
  await lease.open()
  slow = true
  await until(() => seen.lost === 1)
  t.notOk(lease.holds)
  await lease.close()
})

t.test('closing twice leaves once, and nothing is renewed afterwards', async (t) => {
  const { lease, seen } = startLease(async () => granted(5))
  await lease.open()
  await Promise.all([lease.close(), lease.close()])
  const { length } = seen.claims
  await new Promise((resolve) => setTimeout(resolve, leaseMs / 2))
  t.equal(seen.left, 1)
  t.equal(seen.claims.length, length)
})
