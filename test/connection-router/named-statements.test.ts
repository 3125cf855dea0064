import { sql } from 'kysely'
import pg from 'pg'
import t from 'tap'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { NamedStatements } from '../../src/connection-router/wire/named-statements.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { startWorld, type TestRouter, type TestSchema } from './world.ts'

const world = await startWorld(t, 1)
const a = world.tenant(0)
const superuser = new pg.Client(clientOptions({ ...world.server.superuser, database: a.address.database }))
await superuser.connect()
t.teardown(() => superuser.end())

type Db = TenantDb<TestSchema>

const preparedOn = async (db: Db): Promise<string[]> => {
  const { rows } = await sql<{
    statement: string
  }>`select statement from pg_prepared_statements where not from_sql
    and statement not like '%pg_prepared_statements%'`.execute(db)
  return rows.map(({ statement }) => statement)
}

const oneConnection = (): TestRouter => world.router({ tenantMaxConnections: 1 })

world.test('a text is prepared when it comes for the second time, and then used', async (t) => {
  const router = oneConnection()
  await router.use(a.tenantId, async (db) => {
    const ask = () => db.selectFrom('canary').selectAll().where('id', '=', 'same-id').execute()
    await ask()
    t.same(await preparedOn(db), [])
    for (let i = 0; i < 5; i++) t.equal((await ask())[0]?.word, a.tenantId)
    t.same(await preparedOn(db), ['select * from "canary" where "id" = $1'])
    const { rows } = await sql<{
      n: string
    }>`select generic_plans + custom_plans as n from pg_prepared_statements
      where statement like '%canary%' and statement not like '%pg_prepared%'`.execute(db)
    t.equal(rows[0]?.n, '5')
  })
})

world.test('a migration that changes the shape of a prepared read is not noticed', async (t) => {
  const router = oneConnection()
  await superuser.query('create table shapes (id int)')
  await superuser.query(`alter table shapes owner to ${a.address.user}; insert into shapes values (1)`)
  await router.use(a.tenantId, async (db) => {
    const ask = async () => (await sql`select * from shapes`.execute(db)).rows
    for (let i = 0; i < 3; i++) t.same(await ask(), [{ id: 1 }])
    await superuser.query(`alter table shapes add column name text default 'x'`)
    t.same(await Promise.all([ask(), ask(), ask()]), Array(3).fill([{ id: 1, name: 'x' }]))
    await superuser.query('alter table shapes alter column id type text, drop column name')
    t.same(await ask(), [{ id: '1' }])
    t.same(await ask(), [{ id: '1' }])
  })
  t.equal(router.stats().opens, 1)
})

world.test('a prepared write that is out of date runs once', async (t) => {
  const router = oneConnection()
  await superuser.query('create table tallies (n int)')
  await superuser.query(`alter table tallies owner to ${a.address.user}; insert into tallies values (0)`)
  await router.use(a.tenantId, async (db) => {
    const add = async () => (await sql`update tallies set n = n + 1 returning *`.execute(db)).rows
    for (let i = 1; i <= 3; i++) t.same(await add(), [{ n: i }])
    await superuser.query('alter table tallies add column extra int')
    t.same(await add(), [{ n: 4, extra: null }])
  })
})

world.test('in a transaction an out-of-date statement is a 503, and the next try works', async (t) => {
  const router = oneConnection()
  await superuser.query('create table moods (id int)')
  await superuser.query(`alter table moods owner to ${a.address.user}`)
  await router.use(a.tenantId, async (db) => {
    const ask = () => db.transaction().execute((trx) => sql`select * from moods`.execute(trx))
    for (let i = 0; i < 3; i++) await ask()
    await superuser.query('alter table moods add column name text')
    const error = await ask().catch((e: unknown) => e)
    t.ok(isAppError(error, 'database_unavailable'))
    await ask()
  })
  t.equal(router.stats().opens, 1)
})

world.test(
  'a text that cannot be prepared fails each time with its own error, many at once too',
  async (t) => {
    const router = oneConnection()
    await router.use(a.tenantId, async (db) => {
      for (let i = 0; i < 3; i++) {
        const many = await Promise.allSettled(
          Array.from({ length: 5 }, () => sql`select * from not_there`.execute(db)),
        )
        for (const result of many) t.match(result, { reason: { code: '42P01' } })
      }
      await superuser.query('create view not_there as select 1 as one')
      await superuser.query(`alter view not_there owner to ${a.address.user}`)
      for (let i = 0; i < 3; i++) {
        t.same((await sql`select * from not_there`.execute(db)).rows, [{ one: 1 }])
      }
    })
  },
)

world.test('somebody who deallocates everything harms nobody', async () => {
  const router = oneConnection()
  await router.use(a.tenantId, async (db) => {
    const ask = () => db.selectFrom('canary').selectAll().execute()
    for (let i = 0; i < 3; i++) await ask()
    await db.transaction().execute(async (trx) => {
      await sql`deallocate all`.execute(trx)
      await trx.selectFrom('canary').selectAll().execute()
    })
    await ask()
  })
})

world.test('names are bounded: the server is told to forget the oldest', async (t) => {
  const router = oneConnection()
  await router.use(a.tenantId, async (db) => {
    for (let i = 0; i < 130; i++) {
      for (let twice = 0; twice < 2; twice++) await sql`select ${sql.lit(i)}::int as i`.execute(db)
    }
    const { rows } = await sql<{ n: number }>`select count(*)::int as n from pg_prepared_statements`.execute(
      db,
    )
    t.equal(rows[0]?.n, 100)
    t.equal(router.stats().clusters[0]?.named, 100)
  })
})

t.test('a name is not used before the server has confirmed it', async (t) => {
  const names = new NamedStatements()
  const named = names.prepare('select 1')
  t.equal(names.ready('select 1'), undefined)
  t.equal(names.prepare('select 1'), undefined, 'and nobody prepares it a second time meanwhile')
  if (named !== undefined) named.ready = true
  t.equal(names.ready('select 1'), named)
  if (named !== undefined) names.forget(named)
  t.not(names.prepare('select 1')?.name, named?.name, 'a name is never used twice')
})
