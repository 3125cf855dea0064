import t from 'tap'
import { randomFrom } from '../helpers/random.ts'
import { Simulation, settle } from './budget-simulation.ts'

/** Who is served next, and how long a connection stays with its tenant, when there are too few for all who wait. */

/** By README: while others wait, a connection stays with its tenant for as many turns as its weight says, each at least so long. */
const turnMs = 25

/** Connects and goodbyes are done at once. */
const catchUp = async ({ alive }: Simulation): Promise<void> => {
  for (const connection of alive) if (connection.closing) connection.end()
  await settle()
}
const connectAll = async (books: Simulation): Promise<void> => {
  await catchUp(books)
  for (const connection of books.alive) if (connection.state === 'opening') connection.succeed()
  await settle()
}

const wait = (books: Simulation, tenantId: string, times: number): void => {
  for (let n = 0; n < times; n += 1) books.acquire(tenantId)
}

/** Who is served, one after the other on the only connection there is, when each keeps it for `eachMs` and comes again. */
const served = async (books: Simulation, eachMs: number, count: number): Promise<string> => {
  let order = ''
  for (let n = 0; n < count; n += 1) {
    await connectAll(books)
    const { tenantId } = books.held[0]?.pool ?? {}
    if (tenantId === undefined) throw new Error(`nobody is served after ${order}`)
    order += tenantId
    books.acquire(tenantId)
    books.nowMs += eachMs
    books.release(0, true)
    await settle()
  }
  return order
}

/** For whom connections were opened, in order. */
const openedFor = ({ connections }: Simulation): string =>
  connections.map(({ pool }) => pool.tenantId).join('')

/** Nobody can have a connection, until `setTotal`. */
const fullBooks = (): Simulation => {
  const books = new Simulation(4, 4)
  books.setTotal(0)
  return books
}

t.test(
  'of weight 3, a tenant keeps a connection for three turns, whether its work is short or long',
  async (t) => {
    for (const [parts, eachMs] of [
      [5, turnMs / 5],
      [2, 0.75 * turnMs],
      [1, turnMs],
      [1, 12 * turnMs],
    ] as const) {
      const books = new Simulation(1, 1)
      books.weigh('b', 3)
      for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
      const round = 'a'.repeat(parts) + 'b'.repeat(3 * parts)
      t.equal(await served(books, eachMs, 2 * round.length), round + round, `${eachMs} ms each`)
      await books.finish()
    }
  },
)

/** How often each tenant was served, when all always have work that takes from half of `eachMs` to one and a half times that. */
const shares = async (tenants: string, connections: number, eachMs: number): Promise<Map<string, number>> => {
  const books = new Simulation(connections, connections)
  books.weigh('b', 3)
  for (const tenantId of tenants) wait(books, tenantId, 20)
  const random = randomFrom(1)
  const [counts, ends] = [new Map<string, number>(), new Map<unknown, number>()]
  const over = books.nowMs + 160 * Math.max(turnMs, eachMs)
  while (books.nowMs < over) {
    await connectAll(books)
    for (const { connection } of books.held)
      if (!ends.has(connection)) ends.set(connection, books.nowMs + eachMs * (0.5 + random()))
    const endOf = (i: number): number => ends.get(books.held[i]?.connection) ?? Number.NaN
    const first = books.held.reduce((best, _, i) => (endOf(i) < endOf(best) ? i : best), 0)
    const { tenantId } = books.held[first]?.pool ?? {}
    if (tenantId === undefined) throw new Error('nobody is served')
    books.nowMs = endOf(first)
    ends.delete(books.held[first]?.connection)
    counts.set(tenantId, (counts.get(tenantId) ?? 0) + 1)
    books.acquire(tenantId)
    books.release(first, true)
    await settle()
  }
  await books.finish()
  return counts
}

for (const [tenants, connections] of [
  ['abc', 1],
  ['abcd', 4],
  ['abcdefgh', 2],
  ['abcdefghijklmnop', 6],
] as const)
  t.test(`${tenants.length} tenants with ${connections} connections are served by weight`, async (t) => {
    for (const eachMs of [turnMs / 10, turnMs / 2, turnMs, 4 * turnMs]) {
      const counts = await shares(tenants, connections, eachMs)
      const ofB = counts.get('b') ?? 0
      counts.delete('b')
      const others = [...counts.values()]
      const mean = others.reduce((sum, count) => sum + count, 0) / others.length
      t.equal(others.length, tenants.length - 1)
      t.ok(Math.abs(ofB / mean - 3) < 0.4, `${eachMs} ms each: ${ofB} to ${mean}`)
      for (const count of others) t.ok(Math.abs(count - mean) < 0.25 * mean, `one is served ${count} times`)
    }
  })

t.test('and for about a second at most: others do not wait for ever', async (t) => {
  for (const [eachMs, order] of [
    [400, 'abbbabbb'],
    [600, 'abbabbab'],
    [2_000, 'abababab'],
  ] as const) {
    const books = new Simulation(1, 1)
    books.weigh('b', 3)
    for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
    t.equal(await served(books, eachMs, order.length), order, `${eachMs} ms each`)
    await books.finish()
  }
})

t.test('no connection is closed for its own tenant, and a newcomer is served after two turns', async (t) => {
  const books = new Simulation(2, 2)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  await connectAll(books)
  books.acquire('c')
  for (let turn = 0; turn < 2; turn += 1) {
    t.notOk(books.held.some(({ pool }) => pool.tenantId === 'c'))
    books.nowMs += turnMs
    for (let n = books.held.length; n > 0; n -= 1) books.release(0, true)
    await settle()
    await connectAll(books)
  }
  t.equal(openedFor(books), 'abc')
  t.ok(books.held.some(({ pool }) => pool.tenantId === 'c'))
  await books.finish()
})

/** All that are held come back, as often as one likes: who waits gets them again. */
const comeBack = async (books: Simulation, times: number): Promise<void> => {
  for (let n = 0; n < times; n += 1) {
    for (let held = books.held.length; held > 0; held -= 1) books.release(0, true)
    await connectAll(books)
  }
}

t.test('because of fewer permits connections are closed in their turns, whatever waits', async (t) => {
  for (const tenants of ['a', 'abcdefgh']) {
    const books = new Simulation(8, 6)
    for (const tenantId of tenants) wait(books, tenantId, 20)
    for (let n = 0; n < 4; n += 1) await connectAll(books)
    for (const total of [3, 0]) {
      t.ok(books.held.length > total)
      books.setTotal(total)
      await comeBack(books, 2)
      t.ok(books.alive.length <= total, `${books.alive.length} of ${total}`)
    }
    await books.finish()
  }
})

t.test('because of a lower maximum of their tenant they are, too', async (t) => {
  const books = new Simulation(8, 4)
  for (const tenantId of 'ab') wait(books, tenantId, 60)
  for (let n = 0; n < 4; n += 1) await connectAll(books)
  t.equal(books.held.length, 8)
  books.tenantMax = 1
  await comeBack(books, 2)
  t.same(books.held.map(({ pool }) => pool.tenantId).sort(), ['a', 'b'])
  await books.finish()
})

t.test('so are those of plain statements that never pause', async (t) => {
  const books = new Simulation(8, 4)
  for (let n = 0; n < 40; n += 1) books.plain('a')
  for (let n = 0; n < 6; n += 1) {
    books.tick()
    await connectAll(books)
  }
  t.ok(books.alive.length > 1, `${books.alive.length} connections`)
  books.tenantMax = 1
  for (let n = 0; n < 40; n += 1) {
    for (const connection of books.alive.filter(({ inFlight }) => inFlight > 0)) {
      connection.answer()
      books.plain('a')
    }
    await connectAll(books)
  }
  t.equal(books.alive.length, 1)
  await books.finish()
})

t.test(
  'in its turns a connection that has nothing to do is not given up before its tenant could go on',
  async (t) => {
    const books = new Simulation(1, 1)
    books.acquire('a')
    await connectAll(books)
    books.acquire('b')
    const [first] = books.connections
    for (let ms = 1; ms < turnMs; ms += 1) {
      books.nowMs += 1
      books.release(0, true)
      // As whoever was answered does, in the same breath.
      books.acquire('a')
      await settle()
      t.equal(books.held[0]?.connection, first)
      t.notOk(first?.closing, `after ${ms} ms`)
    }
    books.nowMs += 1
    books.release(0, true)
    t.ok(first?.closing, 'its turns are over')
    await connectAll(books)
    t.equal(books.held[0]?.pool.tenantId, 'b')
    await books.finish()
  },
)

t.test('it is given up when its tenant does not go on, and at once when there are too many', async (t) => {
  for (const total of [1, 0]) {
    const books = new Simulation(1, 1)
    books.acquire('a')
    await connectAll(books)
    books.acquire('b')
    books.release(0, true)
    const [first] = books.connections
    t.notOk(first?.closing)
    books.setTotal(total)
    t.equal(first?.closing, total === 0)
    await settle()
    t.ok(first?.closing)
    await books.finish()
  }
})

t.test('permits that become free go round the tenants', async (t) => {
  const books = fullBooks()
  books.weigh('b', 3)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  books.plain('b')
  books.setTotal(4)
  t.equal(openedFor(books), 'abab')
  await books.finish()
})

t.test('another weight counts as soon as the tenant is looked up again', async (t) => {
  const books = new Simulation(1, 1)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  t.equal(await served(books, turnMs, 4), 'abab')
  books.weigh('b', 3)
  books.acquire('b')
  t.equal(await served(books, turnMs, 8), 'abbbabbb')
  await books.finish()
})

t.test('for a whole turn, a connection serves its tenant; then it goes to whoever waits', async (t) => {
  const books = new Simulation(1, 1)
  wait(books, 'a', 40)
  await connectAll(books)
  books.acquire('b')
  const [first] = books.connections
  for (let ms = 1; ms < turnMs; ms += 1) {
    books.nowMs += 1
    books.release(0, true)
    await settle()
    t.equal(books.held[0]?.connection, first)
    t.notOk(first?.closing, `after ${ms} ms`)
  }
  books.nowMs += 1
  books.release(0, true)
  await settle()
  t.ok(first?.closing, 'the turn is over')
  await connectAll(books)
  t.equal(openedFor(books), 'ab')
  t.equal(books.held[0]?.pool.tenantId, 'b')
  await books.finish()
})

t.test('for a whole turn, a connection takes plain statements; then it goes to whoever waits', async (t) => {
  const books = new Simulation(1, 1)
  for (let n = 0; n < 40; n += 1) books.plain('a')
  await connectAll(books)
  books.acquire('b')
  const [first] = books.connections
  const full = first?.inFlight
  t.ok(full !== undefined && full > 1)
  for (let ms = 1; ms < turnMs; ms += 1) {
    books.nowMs += 1
    first?.answer()
    t.equal(first?.inFlight, full, `after ${ms} ms`)
  }
  books.nowMs += 1
  while (first !== undefined && first.inFlight > 0) {
    t.notOk(first.closing, 'what was sent is answered')
    const left: number = first.inFlight
    first.answer()
    t.equal(first.inFlight, left - 1, 'and nothing more is sent')
  }
  t.ok(first?.closing)
  await connectAll(books)
  t.equal(books.held[0]?.pool.tenantId, 'b')
  await books.finish()
})

t.test('when a connection has been idle, its turns begin anew', async (t) => {
  const books = new Simulation(1, 1)
  wait(books, 'a', 2)
  await connectAll(books)
  const take = async (tenantId: string): Promise<void> => {
    books.acquire(tenantId)
    await settle()
  }
  const release = async (afterMs: number): Promise<void> => {
    books.nowMs += afterMs
    books.release(0, true)
    await settle()
  }
  await release(2 * turnMs)
  t.equal(books.held.length, 1, 'nobody else waits')
  await release(1)
  for (const tenantId of ['a', 'a', 'b']) await take(tenantId)
  await release(turnMs - 1)
  t.equal(books.held[0]?.pool.tenantId, 'a')
  t.notOk(books.connections[0]?.closing)
  await books.finish()
})

t.test('while nobody else waits, a connection stays with its tenant', async (t) => {
  const books = new Simulation(1, 1)
  wait(books, 'a', 20)
  t.equal(await served(books, 4 * turnMs, 10), 'a'.repeat(10))
  t.equal(openedFor(books), 'a')
  await books.finish()
})
