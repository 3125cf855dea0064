import fc from 'fast-check'
import t from 'tap'
import { FairQueue, type Ticket } from '../../src/connection-router/fair-queue.ts'

const next = (queue: FairQueue<number>): string | undefined => queue.tenants().next().value

t.test('turns go round the tenants, and in order of arrival within one', async (t) => {
  const queue = new FairQueue<number>()
  for (const [tenant, item] of [
    ['a', 1],
    ['a', 2],
    ['a', 3],
    ['b', 4],
    ['c', 5],
    ['b', 6],
  ] as const) {
    queue.push(tenant, item)
  }
  const served: number[] = []
  for (let tenant = next(queue); tenant !== undefined; tenant = next(queue)) {
    served.push(queue.take(tenant) ?? Number.NaN)
  }
  t.same(served, [1, 4, 5, 2, 6, 3])
  t.equal(queue.size, 0)
})

t.test('a thousand waiting of one tenant hold up another tenant by one turn only', async (t) => {
  const queue = new FairQueue<number>()
  for (let i = 0; i < 1_000; i++) queue.push('noisy', i)
  queue.push('quiet', -1)
  t.equal(queue.take(next(queue) ?? ''), 0)
  t.equal(queue.take(next(queue) ?? ''), -1)
})

t.test('who leaves does not come back, and an empty tenant has no turn', async (t) => {
  const queue = new FairQueue<number>()
  const first = queue.push('a', 1)
  queue.push('b', 2)
  t.equal(queue.remove(first), true)
  t.equal(queue.remove(first), false)
  t.equal(next(queue), 'b')
  t.equal(queue.waiting('a'), 0)
  t.equal(queue.take('a'), undefined)
})

type Waiting = { tenant: string; ticket: Ticket<number> }

/** The plain model: a list of everyone who waits, and the order of turns. */
class Model {
  waiting: Waiting[] = []
  turns: string[] = []

  push(tenant: string, ticket: Ticket<number>): void {
    if (!this.turns.includes(tenant)) this.turns.push(tenant)
    this.waiting.push({ tenant, ticket })
  }

  take(): number | undefined {
    const [tenant] = this.turns
    const found = this.waiting.find((waiter) => waiter.tenant === tenant)
    if (found === undefined || tenant === undefined) return undefined
    this.remove(found)
    if (this.turns[0] === tenant) this.turns.push(...this.turns.splice(0, 1))
    return found.ticket.item
  }

  remove(waiter: Waiting): void {
    this.waiting.splice(this.waiting.indexOf(waiter), 1)
    if (!this.waiting.some(({ tenant }) => tenant === waiter.tenant)) {
      this.turns.splice(this.turns.indexOf(waiter.tenant), 1)
    }
  }
}

t.test('it behaves as the plain model in every sequence of coming, being served and leaving', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('push' as const), tenant: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ kind: fc.constant('take' as const) }),
    fc.record({ kind: fc.constant('leave' as const), which: fc.nat(20) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const [queue, model] = [new FairQueue<number>(), new Model()]
      steps.forEach((action, i) => {
        if (action.kind === 'push') model.push(action.tenant, queue.push(action.tenant, i))
        else if (action.kind === 'take') {
          const tenant = next(queue)
          const taken = tenant === undefined ? undefined : queue.take(tenant)
          if (taken !== model.take()) throw new Error('served another one')
        } else {
          const waiter = model.waiting[action.which]
          if (waiter === undefined) return
          queue.remove(waiter.ticket)
          model.remove(waiter)
        }
        if (queue.size !== model.waiting.length) throw new Error('lost count')
        if (String([...queue.tenants()]) !== String(model.turns)) throw new Error('another order of turns')
      })
    }),
    { numRuns: 1_000 },
  )
})

/** Serves `count` times, always whose turn it is. */
const serve = (queue: FairQueue<number>, count: number): string =>
  Array.from({ length: count }, () => {
    const tenant = next(queue) ?? ''
    queue.take(tenant)
    return tenant
  }).join('')

const filled = (weights: Record<string, number>, each: number): FairQueue<number> => {
  const queue = new FairQueue<number>()
  for (let i = 0; i < each; i++)
    for (const [tenant, weight] of Object.entries(weights)) queue.push(tenant, i, weight)
  return queue
}

t.test('in each round a tenant is served as often as its weight says', async (t) => {
  t.equal(serve(filled({ a: 1, b: 3, c: 2 }, 6), 12), 'abbbccabbbcc')
  t.equal(serve(filled({ a: 3, b: 1 }, 4), 8), 'aaababbb', 'what a tenant has no work for is not saved up')
})

t.test('a changed weight counts from the next turn', async (t) => {
  const queue = filled({ a: 1, b: 1 }, 5)
  queue.push('a', 9, 3)
  t.equal(serve(queue, 6), 'abaaab')
})

t.test('over any time, tenants with work are served by weight, to within one turn', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 5 }),
      fc.integer({ min: 1, max: 60 }),
      (weights, count) => {
        const named = Object.fromEntries(weights.map((weight, i) => [String.fromCharCode(97 + i), weight]))
        const order = serve(filled(named, 80), count)
        const round = weights.reduce((sum, weight) => sum + weight, 0)
        for (const [tenant, weight] of Object.entries(named)) {
          const served = order.split(tenant).length - 1
          if (Math.abs(served - (count * weight) / round) > weight) throw new Error(`${tenant} in ${order}`)
        }
      },
    ),
  )
})

t.test('while the turns are walked through, one whose turn ended is met again', async (t) => {
  const queue = filled({ a: 2, b: 1 }, 2)
  const met: string[] = []
  for (const tenant of queue.tenants()) {
    if (met.length === 5) break
    met.push(tenant)
    while (!queue.pass(tenant)) met.push(tenant)
  }
  t.equal(met.join(''), 'aabaa')
})
