import { sql } from 'kysely'
import t from 'tap'
import { startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 1)
const a = world.tenant(0)
await world.test('rows are made', async () => {
  await world.router().use(a.tenantId, async (db) => {
    await db
      .insertInto('canary')
      .values(Array.from({ length: 1_000 }, (_, i) => ({ id: `row-${i}`, word: 'x' })))
      .execute()
  })
})

const busy = (router: TestRouter): number => router.stats().clusters[0]?.busy ?? 0
const likeRow = 'row-%'

world.test('a stream reads all rows, a chunk at a time, and gives its connection back', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const ids = new Set<string>()
    for await (const row of db.selectFrom('canary').selectAll().where('id', 'like', likeRow).stream(100)) {
      ids.add(row.id)
      t.equal(busy(router), 1)
    }
    t.equal(ids.size, 1_000)
    await until(() => busy(router) === 0)
    const { rows } = await sql<{
      n: number
    }>`select count(*)::int as n from pg_cursors where name <> ''`.execute(db)
    t.equal(rows[0]?.n, 0)
  })
  t.equal(router.stats().opens, 1)
  t.equal(router.stats().spoiled, 0)
})

world.test('the rows of a chunk are all that is asked for at once', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    let read = 0
    // Divides by zero at the 250th row: with chunks of 100, two of them come through.
    const query = db
      .selectFrom('canary')
      .select(sql<number>`1 / (250 - row_number() over ())`.as('x'))
      .where('id', 'like', likeRow)
    await t.rejects(
      (async () => {
        for await (const _ of query.stream(100)) read += 1
      })(),
      { code: '22012' },
    )
    t.equal(read, 200)
  })
})

world.test('a stream that is left early ends on the server', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    for await (const _ of db.selectFrom('canary').selectAll().stream(10)) break
    await until(() => busy(router) === 0)
    await db.selectFrom('canary').selectAll().limit(1).execute()
  })
  t.equal(router.stats().opens, 1)
})

world.test('in a transaction a stream sees what the transaction wrote, one after another', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  await router.use(a.tenantId, async (db) => {
    const abandon = db.transaction().execute(async (trx) => {
      await trx.insertInto('canary').values({ id: 'mine', word: 'mine' }).execute()
      for (const chunk of [1, 400]) {
        const ids: string[] = []
        for await (const { id } of trx
          .selectFrom('canary')
          .select('id')
          .where('id', 'in', ['mine', 'row-1'])
          .stream(chunk))
          ids.push(id)
        t.same(ids.sort(), ['mine', 'row-1'])
      }
      throw new Error('not for ever')
    })
    await t.rejects(abandon, /not for ever/)
    t.equal((await db.selectFrom('canary').where('id', '=', 'mine').selectAll().execute()).length, 0)
  })
})

world.test('rows of a write come through a stream, and the write is committed', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    const rows: string[] = []
    const insert = db.insertInto('canary').values({ id: 'streamed', word: 'y' }).returning('id')
    for await (const { id } of insert.stream(1)) rows.push(id)
    t.same(rows, ['streamed'])
    t.equal(
      (await db.deleteFrom('canary').where('id', '=', 'streamed').executeTakeFirst()).numDeletedRows,
      1n,
    )
  })
})
