import t from 'tap'
import { Breaker } from '../../src/connection-router/breaker.ts'

/** Fails one connect after the other, `count` times; each takes `ms`. Returns the time after the last. */
const failInTurn = (breaker: Breaker, count: number, ms = 1, from = 0): number => {
  let now = from
  for (let i = 0; i < count; i++) {
    const began = now
    now += ms
    breaker.failed(began, now)
  }
  return now
}

t.test('five failures in a row open it; a success in between does not', async (t) => {
  const breaker = new Breaker(() => 0)
  let now = failInTurn(breaker, 4)
  breaker.succeeded()
  now = failInTurn(breaker, 4, 1, now)
  t.equal(breaker.state, 'closed')
  t.ok(breaker.tryConnect(now))
  now = failInTurn(breaker, 1, 1, now)
  t.equal(breaker.state, 'open')
  t.ok(breaker.refuses(now))
  t.notOk(breaker.tryConnect(now))
})

t.test('connects that fail together count once', async (t) => {
  const breaker = new Breaker(() => 0)
  for (let i = 0; i < 100; i++) breaker.failed(0, 10)
  t.equal(breaker.state, 'closed')
})

t.test('one connect that hears nothing for four seconds is enough', async (t) => {
  const breaker = new Breaker(() => 0)
  breaker.failed(0, 3_999)
  t.equal(breaker.state, 'closed')
  const silent = new Breaker(() => 0)
  silent.failed(0, 4_000)
  t.equal(silent.state, 'open')
})

t.test('after the pause one connect is let through, and its end decides', async (t) => {
  const breaker = new Breaker(() => 1)
  const now = failInTurn(breaker, 5)
  t.ok(breaker.refuses(now + 499))
  t.equal(breaker.retryAfter(now), 1)
  t.notOk(breaker.refuses(now + 500))
  t.ok(breaker.tryConnect(now + 500))
  t.equal(breaker.state, 'half-open')
  t.notOk(breaker.tryConnect(now + 500), 'only one')
  t.ok(breaker.refuses(now + 500), 'and nobody waits for its end')
  breaker.succeeded()
  t.equal(breaker.state, 'closed')
  t.ok(breaker.tryConnect(now + 501))
  failInTurn(breaker, 4, 1, now + 501)
  t.equal(breaker.state, 'closed', 'it counts from the beginning')
})

t.test('each failed probe doubles the pause, to ten seconds at most', async (t) => {
  const breaker = new Breaker(() => 1)
  let now = failInTurn(breaker, 5)
  for (const pause of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
    t.notOk(breaker.tryConnect(now + pause - 1), `not before ${pause} ms`)
    t.equal(breaker.retryAfter(now), Math.ceil(pause / 1_000))
    t.ok(breaker.tryConnect(now + pause))
    now += pause
    breaker.failed(now, now + 1)
    now += 1
  }
})

t.test('the pause is shortened by chance, by half at most', async (t) => {
  for (const [chance, pause] of [
    [0, 250],
    [0.5, 375],
    [1, 500],
  ] as const) {
    const breaker = new Breaker(() => chance)
    const now = failInTurn(breaker, 5)
    t.ok(breaker.refuses(now + pause - 1))
    t.notOk(breaker.refuses(now + pause))
  }
})

t.test('what ends late, after it opened, does not prolong the pause', async (t) => {
  const breaker = new Breaker(() => 1)
  const now = failInTurn(breaker, 5)
  breaker.failed(0, now + 400)
  t.notOk(breaker.refuses(now + 500))
})
