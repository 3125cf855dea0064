import t from 'tap'
import { type ModelConnection, Simulation, settle } from './budget-simulation.ts'

/** After a failed connect of a tenant that has another connection, it pauses for 250 ms, give or take half. */

const of = (books: Simulation, tenantId: string): ModelConnection[] =>
  books.connections.filter(({ pool }) => pool.tenantId === tenantId)

/** The tenant `a` holds a connection that works, and waits for a second one, whose connect has just failed. */
const withFailedConnect = async (chance: number): Promise<Simulation> => {
  const books = new Simulation(8, 4, () => chance)
  books.acquire('a')
  of(books, 'a')[0]?.succeed()
  await settle()
  books.acquire('a')
  const second = of(books, 'a')[1]
  second?.fail()
  await settle()
  second?.end()
  await settle()
  return books
}

/** Another tenant comes, and with it the books look at everybody who waits. */
const another = async (books: Simulation): Promise<void> => {
  books.acquire(`other ${books.connections.length}`)
  await settle()
}

for (const [chance, pauseMs] of [
  [0, 125],
  [1, 375],
] as const) {
  t.test(`who has another connection tries again after ${pauseMs} ms, and not before`, async (t) => {
    const books = await withFailedConnect(chance)
    t.match(books, { waiting: 1, held: { length: 1 } }, 'it waits on')
    t.equal(of(books, 'a').length, 2, 'nothing is tried at once')
    books.nowMs += pauseMs - 1
    await another(books)
    t.equal(books.connections.length, 3, 'others are served meanwhile')
    t.equal(of(books, 'a').length, 2)
    books.nowMs += 1
    await another(books)
    t.equal(of(books, 'a').length, 3)
    of(books, 'a')[2]?.succeed()
    await settle()
    t.equal(books.held.filter(({ pool }) => pool.tenantId === 'a').length, 2)
    books.check()
    await books.finish()
  })
}

t.test('a connection of its own that comes back meanwhile serves who waits', async (t) => {
  const books = await withFailedConnect(1)
  books.release(0, true)
  await settle()
  t.match(books, { waiting: 0, held: [{ connection: of(books, 'a')[0] }] })
  await books.finish()
})

t.test('who loses the other connection during the pause tries at once', async (t) => {
  const books = await withFailedConnect(1)
  of(books, 'a')[0]?.end()
  await settle()
  t.equal(of(books, 'a').length, 3)
  await books.finish()
})
