import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { typeFiles, typesOfSet } from '../../scripts/write-types.ts'
import { migrate, pendingMigrations } from '../../src/migrator/migrate.ts'
import { type MigrationSet, readMigrationSet } from '../../src/migrator/migration-set.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const { superuser } = await startTestPostgres(t)

const connect = async (t: Test, database: string): Promise<pg.Client> => {
  const client = new pg.Client({ ...superuser, ssl: false, database })
  await client.connect()
  t.teardown(() => client.end())
  return client
}

/** A new, empty database with the group role that tenant migrations grant to. */
const emptyDatabase = async (t: Test): Promise<string> => {
  const name = `migrations_${crypto.randomUUID().replaceAll('-', '')}`
  const client = await connect(t, 'postgres')
  await client.query(`do $$ begin
    if to_regrole('freehold_tenant') is null then create role freehold_tenant nologin; end if;
  end $$`)
  await client.query(`create database ${name}`)
  return name
}

/** A copy of a set's folder that a test may spoil. */
const copyOf = async (t: Test, folder: string): Promise<string> => {
  const copy = await mkdtemp(join(tmpdir(), 'freehold-migrations-'))
  t.teardown(() => rm(copy, { recursive: true, force: true }))
  await cp(folder, copy, { recursive: true })
  return copy
}

for (const set of typeFiles) {
  const name = set.typeName

  t.test(`${name}: the Kysely types are those of the migrated database`, async (t) => {
    t.equal(await readFile(set.file, 'utf8'), await typesOfSet(superuser, set), 'if not: npm run types')
  })

  t.test(`${name}: every migration runs from empty, and a second run changes nothing`, async (t) => {
    const migrations = await readMigrationSet(set.folder)
    const client = await connect(t, await emptyDatabase(t))
    t.strictSame(
      await pendingMigrations(client, migrations),
      migrations.migrations.map((m) => m.name),
    )
    t.strictSame(
      await migrate(client, migrations),
      migrations.migrations.map((m) => m.name),
    )
    t.strictSame(await migrate(client, migrations), [])
    t.strictSame(await pendingMigrations(client, migrations), [])
  })

  t.test(`${name}: two nodes that migrate at once each end with the whole set`, async (t) => {
    const migrations = await readMigrationSet(set.folder)
    const database = await emptyDatabase(t)
    const applied = await Promise.all(
      [1, 2, 3].map(async () => migrate(await connect(t, database), migrations)),
    )
    t.strictSame(
      applied.flat().sort(),
      migrations.migrations.map((m) => m.name),
    )
  })
}

t.test('a migration that fails half-way leaves nothing, and runs again once it is mended', async (t) => {
  const folder = await copyOf(t, typeFiles[0].folder)
  const good = await readMigrationSet(folder)
  const next = String(good.migrations.length + 1).padStart(4, '0')
  const file = join(folder, `${next}_broken.sql`)
  await writeFile(file, '-- expand: breaks\ncreate table half_done (id int);\nselect 1 / 0;\n')
  const client = await connect(t, await emptyDatabase(t))
  await t.rejects(migrate(client, await readMigrationSet(folder)), { message: /broken.*division by zero/s })
  t.strictSame((await client.query("select to_regclass('half_done') as found")).rows, [{ found: null }])
  t.strictSame(await pendingMigrations(client, await readMigrationSet(folder)), [`${next}_broken`])
  await writeFile(file, '-- expand: works\ncreate table half_done (id int);\n')
  t.strictSame(await migrate(client, await readMigrationSet(folder)), [`${next}_broken`])
})

t.test('a migration that was changed after it ran is refused by name', async (t) => {
  const folder = await copyOf(t, typeFiles[1].folder)
  const client = await connect(t, await emptyDatabase(t))
  const before: MigrationSet = await readMigrationSet(folder)
  await migrate(client, before)
  const first = before.migrations[0]
  await writeFile(join(folder, `${first?.name}.sql`), `${first?.sql}\n-- changed\n`)
  await t.rejects(migrate(client, await readMigrationSet(folder)), {
    name: 'OperatorError',
    message: /0001_.* was changed/,
  })
})

t.test('a database that is ahead of this release is left alone', async (t) => {
  const whole = await readMigrationSet(typeFiles[0].folder)
  const client = await connect(t, await emptyDatabase(t))
  await migrate(client, whole)
  t.strictSame(await migrate(client, { ...whole, migrations: whole.migrations.slice(0, 2) }), [])
})

const badNames: [name: string, file: string, text: string][] = [
  ['a gap in the numbers', '0099_late.sql', '-- expand: x\nselect 1;\n'],
  ['no purpose in the first line', '', 'select 1;\n'],
]
for (const [name, file, text] of badNames) {
  t.test(`a set is refused for ${name}`, async (t) => {
    const folder = await copyOf(t, typeFiles[1].folder)
    const next = String((await readMigrationSet(folder)).migrations.length + 1).padStart(4, '0')
    await writeFile(join(folder, file || `${next}_x.sql`), text)
    await t.rejects(readMigrationSet(folder), /must be(gin|) /)
  })
}
