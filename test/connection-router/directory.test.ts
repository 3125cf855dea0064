import { getEventListeners } from 'node:events'
import t from 'tap'
import {
  Directory,
  type FindTenant,
  type KnownPlacement,
  type PlacedTenant,
  type TenantPlacement,
} from '../../src/connection-router/directory.ts'
import { codeOf } from './world.ts'

const placement = (tenantId: string, epoch = 1): PlacedTenant => ({
  tenantId,
  status: 'active',
  databaseId: 'd',
  clusterId: 'main',
  epoch,
  credentialVersion: 1,
  address: { host: 'h', port: 1, database: 'd', user: 'd', password: 'p', ssl: 'disable' },
})

const epochOf = (known: KnownPlacement | undefined): number | undefined =>
  known !== undefined && 'epoch' in known.placement ? known.placement.epoch : undefined

/** A master whose answers the test gives, one after another. */
const slowMaster = () => {
  const asked: {
    tenantId: string
    answer(found: TenantPlacement | undefined): void
    fail(e: Error): void
  }[] = []
  const findTenant: FindTenant = (tenantId) =>
    new Promise((answer, fail) => {
      asked.push({ tenantId, answer, fail })
    })
  return { asked, findTenant }
}

const fresh = { isFresh: () => true, timeoutMs: 5_000 }

t.test('many who ask at once share one look-up, and later ones the answer', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ ...fresh, findTenant })
  const answers = Promise.all(Array.from({ length: 50 }, () => directory.find('a')))
  t.equal(asked.length, 1)
  asked[0]?.answer(placement('a'))
  for (const known of await answers) t.equal(known?.placement.tenantId, 'a')
  await directory.find('a')
  t.equal(asked.length, 1)
})

t.test('a flood of unknown ids reaches the master once per id', async (t) => {
  let asked = 0
  const findTenant: FindTenant = async () => {
    asked += 1
    return undefined
  }
  const directory = new Directory({ ...fresh, findTenant })
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 1_000; i++) await directory.find(`unknown-${i}`)
  }
  t.equal(asked, 1_000)
  directory.invalidate('unknown-1')
  await directory.find('unknown-1')
  t.equal(asked, 1_001, 'a tenant that was made meanwhile is found')
})

t.test('a look-up that was invalidated under way is made again, and its answer is not kept', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ ...fresh, findTenant })
  const early = directory.find('a')
  directory.invalidate('a')
  const late = directory.find('a')
  t.equal(asked.length, 2, 'who asks after the invalidation does not join the old look-up')
  asked[0]?.answer(placement('a', 1))
  await new Promise(setImmediate)
  asked[1]?.answer(placement('a', 2))
  t.equal(epochOf(await early), 2)
  t.equal(epochOf(await late), 2)
  t.equal(epochOf(directory.peek('a')), 2)
})

t.test('while invalidations may be lost, every use asks', async (t) => {
  let [asked, isFresh] = [0, true]
  const findTenant: FindTenant = async (tenantId) => {
    asked += 1
    return placement(tenantId)
  }
  const directory = new Directory({ findTenant, isFresh: () => isFresh, timeoutMs: 5_000 })
  await directory.find('a')
  isFresh = false
  t.equal(directory.peek('a'), undefined)
  await directory.find('a')
  await directory.find('a')
  t.equal(asked, 3)
})

t.test('a failed look-up is not remembered and says nothing of the master', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ ...fresh, findTenant })
  const failed = directory.find('a')
  asked[0]?.fail(new Error('password authentication failed for user "master"'))
  await t.rejects(failed, {
    code: 'database_unavailable',
    message: 'The tenant cannot be looked up right now. Try again.',
  })
  const again = directory.find('a')
  asked[1]?.answer(placement('a'))
  t.equal((await again)?.placement.tenantId, 'a')
})

t.test('a look-up that never answers is given up, and the next one starts anew', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ isFresh: () => true, timeoutMs: 20, findTenant })
  t.equal(await codeOf(directory.find('a')), 'database_unavailable')
  const again = directory.find('a')
  asked[1]?.answer(placement('a'))
  t.equal((await again)?.placement.tenantId, 'a')
})

t.test('who leaves waits no longer, and the look-up goes on for those who stay', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ ...fresh, findTenant })
  const abort = new AbortController()
  const left = new Error('left')
  const leaver = directory.find('a', { signals: [abort.signal] })
  const stayer = directory.find('a')
  abort.abort(left)
  await t.rejects(leaver, left)
  await t.rejects(directory.find('a', { signals: [abort.signal] }), left)
  t.equal(getEventListeners(abort.signal, 'abort').length, 0)
  asked[0]?.answer(placement('a'))
  t.equal((await stayer)?.placement.tenantId, 'a')
  t.equal(asked.length, 1)
})

t.test('who has little time left waits no longer than that, and takes nobody the look-up', async (t) => {
  const { asked, findTenant } = slowMaster()
  const directory = new Directory({ ...fresh, findTenant })
  const stayer = directory.find('a')
  t.equal(await codeOf(directory.find('a', { timeoutMs: 20 })), 'database_unavailable')
  asked[0]?.answer(placement('a'))
  t.equal((await stayer)?.placement.tenantId, 'a')
  t.equal(asked.length, 1)
})

t.test('an answer about another tenant is refused', async (t) => {
  const directory = new Directory({ ...fresh, findTenant: async () => placement('b') })
  t.equal(await codeOf(directory.find('a')), 'database_unavailable')
})
