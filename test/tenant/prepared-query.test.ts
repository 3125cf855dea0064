import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { prepareQuery } from '../../src/tenant/prepared-query.ts'
import type { TenantTables } from '../../src/tenant/tables.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const { master } = await startTestPostgres(t)
const pool = new pg.Pool(clientOptions(master))
// Its sockets close after `destroy` has ended, and the server, stopping meanwhile, may complain on them.
pool.on('error', () => {})
const db = new Kysely<TenantTables>({ dialect: new PostgresDialect({ pool }) })
t.teardown(() => db.destroy())
await pool.query('create table projects (id uuid primary key, name text not null)')
const ids = [newId(), newId(), newId()]
for (const id of ids) await pool.query('insert into projects values ($1, $2)', [id, `project ${id}`])

t.test('each call gets the rows of its own values, also at once and in a transaction', async (t) => {
  const named = prepareQuery((db, id: string, name: string, limit: number) =>
    db.selectFrom('projects').select('id').where('id', '=', id).where('name', '=', name).limit(limit),
  )
  const found = await Promise.all(ids.map((id) => named(db, id, `project ${id}`, 1)))
  t.strictSame(
    found,
    ids.map((id) => [{ id }]),
  )
  const [first = '', second = ''] = ids
  t.strictSame(await named(db, first, `project ${second}`, 1), [])
  t.strictSame(await named(db, first, `project ${first}`, 0), [])
  const within = await db.transaction().execute(async (trx) => {
    const id = newId()
    await trx.insertInto('projects').values({ id, name: 'new' }).execute()
    return { id, rows: await named(trx, id, 'new', 1), outside: await named(db, id, 'new', 1) }
  })
  t.strictSame(within.rows, [{ id: within.id }])
  t.strictSame(within.outside, [])
})

t.test('it is built once, and constants beside the arguments keep their places', async (t) => {
  let built = 0
  const query = prepareQuery((db, id: string) => {
    built += 1
    return db.selectFrom('projects').select('id').where('name', '!=', 'x').where('id', '=', id).limit(5)
  })
  for (const id of ids) t.strictSame(await query(db, id), [{ id }])
  t.equal(built, 1)
})

t.test('a query that looks into its arguments is refused, not run with the wrong value', async (t) => {
  const query = prepareQuery((db, id: string) =>
    db.selectFrom('projects').select('id').where('id', '=', String(id)),
  )
  await t.rejects(query(db, ids[0] ?? ''), { message: /not one of its values/ })
  const ignoring = prepareQuery((db, _id: string) => db.selectFrom('projects').select('id'))
  await t.rejects(ignoring(db, ids[0] ?? ''), { message: /not one of its values/ })
})
