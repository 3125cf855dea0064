import fc from 'fast-check'
import t from 'tap'
import { FairQueue, type Ticket } from '../../src/connection-router/fair-queue.ts'

const next = (queue: FairQueue<number>): string | undefined => queue.tenants().next().value

/** Serves whoever's turn it is. */
const serveNext = (queue: FairQueue<number>): number | undefined => {
  const tenant = next(queue)
  if (tenant === undefined) return undefined
  const item = queue.take(tenant)
  queue.pass(tenant)
  return item
}

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
  for (let item = serveNext(queue); item !== undefined; item = serveNext(queue)) served.push(item)
  t.same(served, [1, 4, 5, 2, 6, 3])
  t.equal(queue.size, 0)
})

t.test('a thousand waiting of one tenant hold up another tenant by one turn only', async (t) => {
  const queue = new FairQueue<number>()
  for (let i = 0; i < 1_000; i++) queue.push('noisy', i)
  queue.push('quiet', -1)
  t.equal(serveNext(queue), 0)
  t.equal(serveNext(queue), -1)
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
          if (serveNext(queue) !== model.take()) throw new Error('served another one')
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

t.test('what is taken out of turn costs no turn', async (t) => {
  const queue = new FairQueue<number>()
  for (const tenant of ['a', 'b', 'a']) queue.push(tenant, 0)
  queue.take('a')
  t.same([...queue.tenants()], ['a', 'b'])
})

t.test('who gives up a turn is behind those who came meanwhile, but for once a round', async (t) => {
  const queue = new FairQueue<number>()
  for (const tenant of ['a', 'b']) queue.push(tenant, 0)
  queue.pass('a')
  queue.push('c', 0)
  queue.yield('a')
  t.same([...queue.tenants()], ['b', 'c', 'a'], 'c has come since the turn of a')
  queue.pass('b')
  queue.push('d', 0)
  queue.yield('a')
  t.same([...queue.tenants()], ['c', 'a', 'b', 'd'], 'b has had a turn since the turn of a')
})

t.test('while the turns are walked through, one who had its turn is met again', async (t) => {
  const queue = new FairQueue<number>()
  for (const tenant of ['a', 'b']) queue.push(tenant, 0)
  const met: string[] = []
  for (const tenant of queue.tenants()) {
    if (met.length === 5) break
    met.push(tenant)
    queue.pass(tenant)
  }
  t.equal(met.join(''), 'ababa')
})
