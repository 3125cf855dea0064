import { spawn } from 'node:child_process'
import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { openMaster } from '../../src/master/master.ts'
import { LiveLocks } from '../../src/tenant-manager/live-locks.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

const postgres = await startTestPostgres(t)
const log = createLogger('silent')
const master = openMaster(postgres.master, log)
t.teardown(() => master.close())

const newLocks = (t: { teardown(work: () => Promise<void>): unknown }): LiveLocks => {
  const locks = new LiveLocks(master, log)
  t.teardown(() => locks.close())
  return locks
}

t.test('a name is held once: over all processes, and in one', async (t) => {
  const [one, two] = [newLocks(t), newLocks(t)]
  const lock = await one.tryHold('a')
  t.match(lock, { name: 'a', lost: false })
  t.equal(await one.tryHold('a'), undefined)
  t.equal(await two.tryHold('a'), undefined)
  t.ok(await two.tryHold('b'))
  t.strictSame(await one.whichHeld(['a', 'b', 'c']), new Set(['a', 'b']))
  t.strictSame(await one.whichHeld([]), new Set())
  await lock?.release()
  await lock?.release()
  t.ok(await two.tryHold('a'))
  t.equal(await one.tryHold('a'), undefined)
})

t.test('of many that try at once, one gets it', async (t) => {
  const all = Array.from({ length: 5 }, () => newLocks(t))
  const got = await Promise.all(all.flatMap((locks) => [locks.tryHold('race'), locks.tryHold('race')]))
  t.equal(got.filter((lock) => lock !== undefined).length, 1)
})

t.test('a second release does not give up what was taken again meanwhile', async (t) => {
  const locks = newLocks(t)
  const first = await locks.tryHold('again')
  await first?.release()
  const second = await locks.tryHold('again')
  await first?.release()
  t.ok(second)
  t.strictSame(await locks.whichHeld(['again']), new Set(['again']))
  t.equal(await locks.tryHold('again'), undefined)
})

t.test(
  'a lost connection loses its locks, says so, and the next one is taken on a new connection',
  async (t) => {
    const locks = newLocks(t)
    const lock = await locks.tryHold('x')
    const admin = await connectTo(t, postgres.superuser)
    await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'freehold locks'",
    )
    await until(async () => lock?.lost === true)
    await lock?.release()
    await until(async () => (await locks.whichHeld(['x'])).size === 0)
    t.ok(await locks.tryHold('x'))
  },
)

t.test('closing gives up everything, and nothing can be held after it', async (t) => {
  const locks = newLocks(t)
  await locks.tryHold('gone')
  await locks.close()
  await locks.close()
  await until(async () => (await newLocks(t).whichHeld(['gone'])).size === 0)
  await t.rejects(locks.tryHold('gone'), /closed/)
})

t.test('a killed process holds nothing', async (t) => {
  const script = `
    import { createLogger } from '${new URL('../../src/kernel/log.ts', import.meta.url)}'
    import { openMaster } from '${new URL('../../src/master/master.ts', import.meta.url)}'
    import { LiveLocks } from '${new URL('../../src/tenant-manager/live-locks.ts', import.meta.url)}'
    const log = createLogger('silent')
    process.stdin.once('data', async (line) => {
      await new LiveLocks(openMaster(JSON.parse(line), log), log).tryHold('mortal')
      process.stdout.write('held')
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.write(JSON.stringify(postgres.master))
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const locks = newLocks(t)
  t.equal(await locks.tryHold('mortal'), undefined)
  child.kill('SIGKILL')
  await until(async () => (await locks.whichHeld(['mortal'])).size === 0)
  t.ok(await locks.tryHold('mortal'))
})
