import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createRateLimits, type Limit, masterLimits } from '../../src/access/rate-limits.ts'
import { createRedisLimits } from '../../src/access/redis-limits.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { parseRedisUrl } from '../../src/kernel/redis-address.ts'
import { freePort } from '../helpers/free-port.ts'
import { startPlainMaster } from '../helpers/plain-master.ts'
import { until } from '../helpers/until.ts'

const { db } = await startPlainMaster(t)
const inMaster = masterLimits(db)
const log = createLogger('silent')

/** CI installs it, and npm can't; without it only what happens without Redis is tested. */
const hasRedis = spawnSync('redis-server', ['--version']).status === 0
const withRedis = hasRedis
  ? {}
  : { skip: 'redis-server is not on the PATH: only the way without Redis is tested' }

const port = await freePort()
const address = parseRedisUrl(`redis://127.0.0.1:${port}/1`)
const folder = await mkdtemp(join(tmpdir(), 'test-redis-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))

const startRedis = async (t: Test): Promise<ChildProcess> => {
  const options = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ]
  // tap would load its own instruments into every Node it sees started; this is none, but the rest is the same.
  const child = spawn('redis-server', options, { stdio: 'ignore' })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGCONT')
    child.kill('SIGKILL')
    await ended
  })
  return child
}

/** A node's limits: Redis, and the master in its place. */
const open = (t: Test, say: string[] = []) => {
  const note = (_: unknown, text: string): void => void say.push(text)
  const loud = {
    ...log,
    warn: note,
    info: (text: string): void => void say.push(text),
  } as unknown as typeof log
  const store = createRedisLimits(address, 'test', inMaster, loud)
  t.teardown(() => store.close())
  return { store, limits: createRateLimits(store) }
}

let names = 0
const newLimit = (burst: number, everySeconds: number): Limit => {
  names += 1
  return { name: `limit ${names}`, burst, everySeconds }
}
const grantsOf = async (
  limits: ReturnType<typeof createRateLimits>,
  limit: Limit,
  times: number,
): Promise<number> => {
  const verdicts = await Promise.all(Array.from({ length: times }, () => limits.take(limit, 'someone')))
  return verdicts.filter(({ granted }) => granted).length
}

t.test('an address that is none is refused without being repeated', async (t) => {
  for (const text of [
    'http://secret@x',
    'redis://',
    'redis://:secret@x/a',
    'redis://:secret@x?y=1',
    'secret',
  ]) {
    t.throws(() => parseRedisUrl(text), /^(?!.*secret).*must be an address like redis:/)
  }
  t.match(parseRedisUrl('rediss://me:s%40crt@[::1]:7000/2'), {
    host: '::1',
    port: 7000,
    database: 2,
    tls: true,
    username: 'me',
    password: 's@crt',
  })
})

t.test('where no Redis is the master counts, exactly, and it is said once', async (t) => {
  const say: string[] = []
  const { limits, store } = open(t, say)
  const limit = newLimit(5, 600)
  t.equal(await grantsOf(limits, limit, 20), 5)
  await until(async () => say.length > 0)
  t.equal(await grantsOf(limits, limit, 3), 0)
  t.equal((await limits.take(limit, 'somebody else')).granted, true)
  await limits.clear(limit, 'someone')
  t.equal((await limits.take(limit, 'someone')).granted, true)
  t.strictSame(say, ['Redis cannot be reached; limits are counted in the master'])
  t.notOk(store.isUp())
})

t.test('with Redis', withRedis, async (t) => {
  await startRedis(t)
  const one = open(t)
  const two = open(t)
  await until(async () => one.store.isUp() && two.store.isUp())
  const client = new Redis({ port, host: '127.0.0.1', db: 1 })
  t.teardown(() => client.disconnect())

  await t.test('two nodes share a limit, however many come at once', async (t) => {
    const limit = newLimit(7, 600)
    const granted = await Promise.all([grantsOf(one.limits, limit, 50), grantsOf(two.limits, limit, 50)])
    t.equal(granted[0] + granted[1], 7)
    const { retryAfterSeconds, resetSeconds, remaining } = await one.limits.take(limit, 'someone')
    t.strictSame(
      { retryAfterSeconds, resetSeconds, remaining },
      { retryAfterSeconds: 600, resetSeconds: 4200, remaining: 0 },
    )
  })

  await t.test(
    'the verdicts are those of the master, whatever is taken, given back and forgotten',
    async () => {
      const step = fc.constantFrom('take', 'take', 'take', 'giveBack', 'clear')
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 14 }),
          fc.integer({ min: 1, max: 4 }),
          async (steps, burst) => {
            const limit = newLimit(burst, 3_600)
            const master = createRateLimits(inMaster)
            for (const each of steps) {
              if (each !== 'take') {
                await Promise.all([
                  one.limits[each](limit, 's'),
                  master[each]({ ...limit, name: `${limit.name} m` }, 's'),
                ])
                continue
              }
              const [ours, theirs] = await Promise.all([
                one.limits.take(limit, 's'),
                master.take({ ...limit, name: `${limit.name} m` }, 's'),
              ])
              if (ours.granted !== theirs.granted || ours.remaining !== theirs.remaining) return false
            }
            return true
          },
        ),
        { numRuns: 40 },
      )
    },
  )

  await t.test('a take is one round trip, and the key ends by itself', async (t) => {
    const limit = newLimit(3, 0.05)
    await client.config('RESETSTAT')
    await grantsOf(one.limits, limit, 2)
    const stats = await client.info('commandstats')
    t.match(stats, /cmdstat_evalsha:calls=2,/)
    t.match(stats, /cmdstat_get:calls=2,/, 'by the script, not by us')
    t.notMatch(stats, /cmdstat_eval:/)
    await until(async () => (await client.keys('test:limit:*')).every((key) => key !== ''))
    const [key = ''] = await client.keys('test:limit:*')
    t.ok((await client.pttl(key)) !== -1, 'it has an end')
    t.notMatch(key, /someone/, 'what people type never stands there')
  })
})

t.test(
  'a Redis that dies or hangs refuses nobody and lets nobody through uncounted',
  withRedis,
  async (t) => {
    const say: string[] = []
    const { limits, store } = open(t, say)
    const child = await startRedis(t)
    await until(async () => store.isUp())
    const limit = newLimit(4, 600)
    t.equal(await grantsOf(limits, limit, 2), 2)
    child.kill('SIGSTOP')
    t.equal(await grantsOf(limits, limit, 10), 4, 'the master begins to count')
    t.equal(await grantsOf(limits, limit, 10), 0)
    t.equal(say.at(-1), 'Redis cannot be reached; limits are counted in the master')
    child.kill('SIGCONT')
    await until(async () => store.isUp())
    await limits.take(newLimit(1, 1), 'x')
    await until(async () => say.at(-1) === 'Redis is back; it counts the limits again')
    const killed = once(child, 'exit')
    child.kill('SIGKILL')
    await killed
    const other = newLimit(4, 600)
    t.equal(await grantsOf(limits, other, 10), 4)
  },
)
