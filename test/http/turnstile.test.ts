import t from 'tap'
import { noRateLimits } from '../../src/access/rate-limits.ts'
import { limitByAddress } from '../../src/http/rate-limit.ts'
import { createServer } from '../../src/http/server.ts'
import { createTurnstile } from '../../src/http/turnstile.ts'
import { createLogger } from '../../src/kernel/log.ts'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('of many who come at once each has a turn of the event loop, in order', async (t) => {
  const pass = createTurnstile()
  const passed: number[] = []
  const all = Promise.all(Array.from({ length: 50 }, (_, n) => pass().then(() => passed.push(n))))
  let most = 0
  for (let before = 0; before < 50; before = passed.length) {
    await nextTurn()
    most = Math.max(most, passed.length - before)
  }
  await all
  t.equal(most, 1)
  t.strictSame(
    passed,
    Array.from({ length: 50 }, (_, n) => n),
  )
})

t.test('who comes when nobody waits passes, again and again', async (t) => {
  const pass = createTurnstile()
  for (let n = 0; n < 3; n += 1) await pass()
  const [first, second] = [pass(), nextTurn().then(pass)]
  await Promise.all([first, second])
  t.pass('nobody is forgotten')
})

t.test('requests that are limited by address are begun in turns of their own', async (t) => {
  let begun = 0
  const limits = limitByAddress({
    ...noRateLimits,
    take: (limit, subject) => {
      begun += 1
      return noRateLimits.take(limit, subject)
    },
  })
  const app = createServer(createLogger('silent'), { trustedProxies: [], headers: {} })
  app.get('/dear', limits({ name: 'dear', burst: 1, everySeconds: 1 }), async () => 'done')
  await app.ready()
  t.teardown(() => app.close())
  const answers = Array.from({ length: 20 }, () => app.inject('/dear'))
  let most = 0
  for (let before = 0; before < 20; before = begun) {
    await nextTurn()
    most = Math.max(most, begun - before)
  }
  for (const { statusCode } of await Promise.all(answers)) t.equal(statusCode, 200)
  t.equal(most, 1)
})
