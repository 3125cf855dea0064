import { sql } from 'kysely'
import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { compiledOnce, openMaster } from '../../src/master/master.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const master = openMaster(postgres.master, createLogger('silent'))
t.teardown(() => master.close())

const words = (one: string, other: string) =>
  master.db.selectNoFrom([
    sql<string>`${other}::text`.as('first'),
    sql<string>`${one}::text`.as('second'),
    sql<string>`${other}::text`.as('third'),
    sql<string>`${'always'}::text`.as('fourth'),
  ])

t.test('a statement is put together once, and asked with other arguments each time', async (t) => {
  let built = 0
  const ask = compiledOnce(master, (one: string, other: string) => {
    built += 1
    return words(one, other)
  })
  const rowOf = (one: string, other: string) => [
    { first: other, second: one, third: other, fourth: 'always' },
  ]
  const rows = await Promise.all([ask('a', 'b'), ask('c', 'd'), ask('', 'argument 0')])
  t.strictSame(rows, [rowOf('a', 'b'), rowOf('c', 'd'), rowOf('', 'argument 0')])
  t.equal(built, 1)
})

t.test('an argument that is no parameter would be asked for as it was first', async (t) => {
  t.throws(() => compiledOnce(master, (one: string, other: string) => words(one, `%${other}%`)), {
    message: /not a parameter/,
  })
  t.throws(() => compiledOnce(master, (one: string) => words(one, `%${one}%`)), {
    message: /not a parameter/,
  })
  const rest = compiledOnce(master, (...all: string[]) => words(all[0] ?? '', all[1] ?? ''))
  await t.rejects(rest('a', 'b'), { message: /0 arguments/ })
})
