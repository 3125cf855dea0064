import t from 'tap'
import { Simulation, settle } from './budget-simulation.ts'

/** Who is served next, and how long a connection stays with its tenant, when there are too few for all who wait. */

/** By README: a connection stays with its tenant for so long, times the tenant's weight, while others wait. */
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

t.test('of weight 3, a tenant keeps a connection three times as long, and is served as often', async (t) => {
  const books = new Simulation(1, 1)
  books.weigh('b', 3)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  const round = 'a'.repeat(5) + 'b'.repeat(15)
  t.equal(await served(books, turnMs / 5, 40), round + round)
  await books.finish()
})

t.test('of weight 3, a tenant gets three connections for one of another tenant', async (t) => {
  const books = fullBooks()
  books.weigh('b', 3)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  books.setTotal(4)
  t.equal(openedFor(books), 'abbb')
  await books.finish()
})

t.test('and so it does when plain statements wait too', async (t) => {
  const books = fullBooks()
  books.weigh('b', 3)
  wait(books, 'a', 20)
  books.plain('b')
  wait(books, 'b', 20)
  books.setTotal(4)
  t.equal(openedFor(books), 'abbb')
  await books.finish()
})

t.test('another weight counts as soon as the tenant is looked up again', async (t) => {
  const books = new Simulation(4, 4)
  books.acquire('b')
  await connectAll(books)
  books.release(0, true)
  books.setTotal(0)
  await catchUp(books)
  t.equal(books.alive.length, 0)
  books.weigh('b', 3)
  for (const tenantId of ['a', 'b']) wait(books, tenantId, 20)
  books.setTotal(4)
  t.equal(openedFor(books), 'babbb')
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

t.test('while nobody else waits, a connection stays with its tenant', async (t) => {
  const books = new Simulation(1, 1)
  wait(books, 'a', 20)
  t.equal(await served(books, 4 * turnMs, 10), 'a'.repeat(10))
  t.equal(openedFor(books), 'a')
  await books.finish()
})
