import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readMigrationSet } from '../../src/migrator/migration-set.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { type Landlord, startLandlord } from '../helpers/tenant-manager.ts'

const postgres = await startTestPostgres(t)
const today = await startLandlord(t, postgres, { spareDatabases: 2 })
const { db } = today.master
const admin = await connectTo(t, postgres.superuser)

const ownMigrations = new URL('../../migrations-tenant', import.meta.url).pathname

/** The same node with one more migration. */
const nextRelease = async (t: Test, sql: string): Promise<Landlord> => {
  const folder = await mkdtemp(join(tmpdir(), 'test-migrations-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(ownMigrations, folder, { recursive: true })
  await writeFile(join(folder, `${newest}.sql`), sql)
  return startLandlord(t, postgres, { install: false, spareDatabases: 2, migrationsFolder: folder })
}
const { migrations } = await readMigrationSet(ownMigrations)
const nextNumber = String(migrations.length + 1).padStart(2, '0')
const newest = `00${nextNumber}_next`

const versions = async (): Promise<string[]> =>
  (await db.selectFrom('databases').select('schema_version').orderBy('id').execute()).map(
    (row) => row.schema_version,
  )

t.test(
  'held and spare databases are brought to the next release, each object owned by its owner',
  async (t) => {
    await today.manager.refillSpares()
    const tenant = await today.createTenant()
    const next = await nextRelease(
      t,
      '-- expand: x\ncreate table extra (id int);\ngrant select on extra to freehold_tenant;\n',
    )
    const kinds = (await next.manager.inspect()).map(({ kind }) => kind)
    t.strictSame([...new Set(kinds)].sort(), ['left_template', 'old_schema', 'too_few_spares'])
    t.strictSame(await next.manager.migrateDatabases(), { migrated: 2, failed: 0 })
    t.strictSame(await versions(), [newest, newest])
    const { name } = await db
      .selectFrom('databases')
      .select('name')
      .where('id', '=', tenant.database_id)
      .executeTakeFirstOrThrow()
    const inside = await connectTo(t, { ...postgres.superuser, database: name })
    const { rows } = await inside.query(
      "select pg_get_userbyid(relowner) as owner from pg_class where relname = 'extra'",
    )
    t.strictSame(rows, [{ owner: `${name}_owner` }])
    t.strictSame(await next.manager.migrateDatabases(), { migrated: 0, failed: 0 })
    const operations = await db
      .selectFrom('operations')
      .select(['status', 'attempts'])
      .where('kind', '=', 'migrate')
      .execute()
    t.strictSame(operations, [
      { status: 'succeeded', attempts: 1 },
      { status: 'succeeded', attempts: 1 },
    ])
  },
)

t.test("yesterday's node leaves newer databases alone, and gives them to tenants", async (t) => {
  t.strictSame(await today.manager.migrateDatabases(), { migrated: 0, failed: 0 })
  t.strictSame(await versions(), [newest, newest])
  t.match(await today.createTenant(), { status: 'active' })
})

t.test(
  'one database that fails does not stop the others; its error is in the journal until it succeeds',
  async (t) => {
    await today.manager.refillSpares()
    await db.deleteFrom('operations').execute()
    const [first] = await db
      .selectFrom('databases')
      .selectAll()
      .where('schema_version', '<>', newest)
      .execute()
    const inside = await connectTo(t, { ...postgres.superuser, database: first?.name ?? '' })
    await inside.query('create table in_the_way (id int)')
    const next = await nextRelease(t, '-- expand: x\ncreate table in_the_way (id int);\n')
    t.strictSame(await next.manager.migrateDatabases(), { migrated: 1, failed: 1 })
    const failed = () =>
      db
        .selectFrom('operations')
        .select(['database_id', 'status', 'attempts', 'error'])
        .where('status', '=', 'failed')
        .execute()
    t.match(await failed(), [
      { database_id: first?.id, attempts: 1, error: /^PostgreSQL refused it \(42P07\)/ },
    ])
    await next.manager.migrateDatabases()
    t.match(await failed(), [{ attempts: 2 }])
    await inside.query('drop table in_the_way')
    t.strictSame(await next.manager.migrateDatabases(), { migrated: 1, failed: 0 })
    t.strictSame(await failed(), [])
  },
)

t.test('a spare that cannot be migrated is replaced', async (t) => {
  await db.updateTable('databases').set({ status: 'erasing' }).where('status', '=', 'spare').execute()
  await today.manager.repair()
  await today.manager.refillSpares()
  const old = await db.selectFrom('databases').select('name').where('status', '=', 'spare').execute()
  const inside = await connectTo(t, { ...postgres.superuser, database: old[0]?.name ?? '' })
  await inside.query('create table third_release (id int)')
  await inside.end()
  const next = await nextRelease(t, '-- expand: x\ncreate table third_release (id int);\n')
  await next.manager.refillSpares()
  const spares = await db
    .selectFrom('databases')
    .select(['name', 'schema_version'])
    .where('status', '=', 'spare')
    .execute()
  t.strictSame(
    spares.map((row) => row.schema_version),
    [newest, newest],
  )
  const kept = spares.map((row) => row.name)
  t.strictSame(
    old.map(({ name }) => kept.includes(name)),
    [false, true],
  )
  t.equal((await admin.query('select from pg_database where datname = $1', [old[0]?.name])).rowCount, 0)
})
