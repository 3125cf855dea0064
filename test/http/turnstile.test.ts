import t from 'tap'
import { createTurnstile } from '../../src/http/turnstile.ts'

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
