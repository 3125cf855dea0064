import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { findPlacement } from '../../src/master/placement.ts'
import { connectTo, refusalOf, startTestPostgres } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres)
const { master, manager, box, createTenant } = landlord
await manager.refillSpares()

/** Where a new tenant's own role logs in. */
const newDoor = async (): Promise<PostgresAddress> => {
  const placement = await findPlacement(master, box)((await createTenant()).id)
  if (placement?.status !== 'active') throw new Error('the tenant has no placement')
  return placement.address
}
const a = await newDoor()
const b = await newDoor()

/** Opens the second wall, pg_hba, so that what refuses is the first: CONNECT. */
const withoutAccessRules = async (work: () => Promise<void>): Promise<void> => {
  const admin = await connectTo(t, postgres.superuser)
  const { rows } = await admin.query<{ file: string }>("select current_setting('hba_file') as file")
  const file = rows[0]?.file ?? ''
  const rules = await readFile(file, 'utf8')
  const reload = async (text: string): Promise<void> => {
    await writeFile(file, text)
    await admin.query('select pg_reload_conf()')
    // A new connection meets the new rules once the postmaster has read them: ask until the rule count shows it.
    const wanted = text.split('\n').filter((line) => /^(local|host)/.test(line)).length
    for (;;) {
      const shown = await admin.query('select from pg_hba_file_rules where error is null')
      if (shown.rowCount === wanted) return
    }
  }
  await reload('local all all scram-sha-256\n')
  try {
    await work()
  } finally {
    await reload(rules)
  }
}

t.test("a tenant's role logs in to its own database", async (t) => {
  const client = await connectTo(t, a)
  const { rows } = await client.query('select current_user as me, current_database() as here')
  t.strictSame(rows, [{ me: a.user, here: a.database }])
  t.equal(a.user, a.database)
})

const elsewhere = ['postgres', 'template1', 'freehold', b.database]

t.test("a tenant's role is refused by every other database: by the access rules", async (t) => {
  for (const database of elsewhere) t.equal(await refusalOf({ ...a, database }), '28000', database)
})

t.test("a tenant's role is refused by every other database: by CONNECT alone", async (t) => {
  await withoutAccessRules(async () => {
    t.equal(await refusalOf(a), undefined)
    for (const database of elsewhere) t.equal(await refusalOf({ ...a, database }), '42501', database)
  })
})

t.test('a wrong password is refused, and the owner role has no way in', async (t) => {
  t.equal(await refusalOf({ ...a, password: b.password }), '28P01')
  t.equal(await refusalOf({ ...a, user: `${a.user}_owner` }), '28000')
})

const forbidden = [
  'create role intruder',
  'create database intruder',
  'create schema intruder',
  'create extension pgcrypto',
  'create extension postgres_fdw',
  'create table intruder (id int)',
  'create temporary table intruder (id int)',
  'create function public.intruder() returns int language sql as $$ select 1 $$',
  'alter table projects add column intruder int',
  'drop table projects',
  'truncate projects',
  'alter database current_name with connection limit 0',
  'set role current_owner',
  'set role freehold_tenant',
  'set role freehold_template',
  'alter role current_name createdb',
  'alter role current_name connection limit 1000',
  "copy projects from '/etc/passwd'",
  "copy projects to program 'true'",
  "select pg_read_file('/etc/passwd')",
  'select * from pg_authid',
  'select * from freehold_migrations',
  'update audit_log set action = action',
  'delete from audit_log',
  'truncate audit_log',
  'delete from settings',
]

for (const statement of forbidden) {
  t.test(`a tenant's role may not: ${statement}`, async (t) => {
    const sql = statement.replace('current_name', a.database).replace('current_owner', `${a.database}_owner`)
    t.equal(await refusalOf(a, sql), '42501')
  })
}

t.test(
  "a tenant's role can't open its database to others: Postgres warns, and changes nothing",
  async (t) => {
    const client = await connectTo(t, a)
    await client.query(`grant connect, temporary on database ${a.database} to public`)
    const { rows } = await client.query(
      `select has_database_privilege('public', current_database(), 'CONNECT')
         or has_database_privilege('public', current_database(), 'TEMPORARY') as open`,
    )
    t.strictSame(rows, [{ open: false }])
  },
)

t.test("a tenant's role may work with its own data, and append to its audit log", async (t) => {
  const client = await connectTo(t, a)
  await client.query("insert into projects (id, name) values (gen_random_uuid(), 'x')")
  await client.query("update projects set name = 'y'")
  await client.query('delete from projects')
  await client.query(`insert into audit_log (id, actor_kind, action, entity_type)
    values (gen_random_uuid(), 'system', 'test', 'test')`)
  t.equal((await client.query('select from audit_log')).rowCount, 1)
})

t.test('nothing in a tenant database belongs to anybody but its owner', async (t) => {
  const client = await connectTo(t, { ...postgres.superuser, database: a.database })
  const { rows } = await client.query(
    `select distinct pg_get_userbyid(relowner) as owner from pg_class where relnamespace = 'public'::regnamespace`,
  )
  t.strictSame(rows, [{ owner: `${a.database}_owner` }])
})

t.test('PUBLIC may connect to no database, nor make temporary tables there', async (t) => {
  const client = await connectTo(t, postgres.superuser)
  const { rows } = await client.query(
    `select datname from pg_database where datallowconn
       and (has_database_privilege('public', oid, 'CONNECT') or has_database_privilege('public', oid, 'TEMPORARY'))`,
  )
  t.strictSame(rows, [])
})

t.test("a role's connections end at its limit, twice what the nodes keep a tenant to", async (t) => {
  for (let open = 0; open < 16; open += 1) await connectTo(t, b)
  t.equal(await refusalOf(b), '53300')
})

t.test("erasing ends the tenant's own sessions", async (t) => {
  const door = await newDoor()
  const session = await connectTo(t, door)
  const ended = new Promise((resolve) => session.once('end', resolve))
  const { database_id } = await master.db
    .selectFrom('tenants as t')
    .innerJoin('databases as d', 'd.id', 't.database_id')
    .select('t.database_id')
    .where('d.name', '=', door.database)
    .executeTakeFirstOrThrow()
  await master.db
    .updateTable('tenants')
    .set({ status: 'deleted', database_id: null })
    .where('database_id', '=', database_id)
    .execute()
  await master.db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', database_id).execute()
  await manager.eraseDatabase(database_id ?? '')
  await ended
  t.equal(await refusalOf(door), '28P01')
})

t.test('secrets are nowhere in the clear: not in the master, not on the server', async (t) => {
  const { rows } = await (await connectTo(t, postgres.superuser)).query(
    'select rolpassword from pg_authid where rolname = $1',
    [a.user],
  )
  t.match(rows[0].rolpassword, /^SCRAM-SHA-256\$1:/)
  const row = await master.db
    .selectFrom('databases')
    .select('secret')
    .where('name', '=', a.database)
    .executeTakeFirstOrThrow()
  t.notOk(row.secret.includes(a.password))
})

t.test("a sealed secret copied to another tenant's row does not open there", async (t) => {
  const tenants = await master.db
    .selectFrom('tenants as t')
    .innerJoin('databases as d', 'd.id', 't.database_id')
    .select(['t.id', 'd.id as databaseId', 'd.secret'])
    .execute()
  const [one, two] = tenants
  if (one === undefined || two === undefined) throw new Error('two tenants are needed')
  await master.db
    .updateTable('databases')
    .set({ secret: one.secret })
    .where('id', '=', two.databaseId)
    .execute()
  await t.rejects(findPlacement(master, box)(two.id))
  await master.db
    .updateTable('databases')
    .set({ secret: two.secret })
    .where('id', '=', two.databaseId)
    .execute()
  t.match(await findPlacement(master, box)(two.id), { status: 'active' })
})
