import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { readMembers } from '../../src/tenant-manager/deliver-member.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { databaseOf, startLandlord } from '../helpers/tenant-manager.ts'

/** How the master's members become people in the tenant's own directory. */

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres, { spareDatabases: 1 })
const { manager, master, createTenant } = landlord
const { db } = master

const newTenant = async () => {
  await manager.refillSpares()
  const { id } = await createTenant()
  const inside = await databaseOf(t, { db, superuser: postgres.superuser }, id)
  const users = async () =>
    (
      await inside.query(
        'select id, person_id, kind, status, email, first_name from users order by created_at',
      )
    ).rows
  return { id, inside, users, tell: () => manager.deliverOutbox(id) }
}
const addPerson = async (values: { kind?: 'system'; email?: string } = {}) => {
  const id = newId()
  const person = { id, email: `${id}@example.com`, first_name: 'Ann', ...values }
  await db.insertInto('people').values(person).execute()
  return person
}
const roleId = async (): Promise<string> =>
  (await db.selectFrom('roles').select('id').where('name', '=', 'Viewer').executeTakeFirstOrThrow()).id
const join = async (tenant_id: string, person_id: string): Promise<unknown> =>
  db
    .insertInto('memberships')
    .values({ tenant_id, person_id, role_id: await roleId() })
    .execute()
const leave = (tenantId: string, personId: string): Promise<unknown> =>
  db.deleteFrom('memberships').where('tenant_id', '=', tenantId).where('person_id', '=', personId).execute()

t.test('a member is in the directory, changes there, and stays as somebody who was one', async (t) => {
  const { id, users, tell, inside } = await newTenant()
  await tell()
  t.match(await users(), [{ id: landlord.personId, kind: 'member', status: 'active' }], 'the first member')
  const ann = await addPerson()
  await join(id, ann.id)
  await tell()
  const row = { id: ann.id, person_id: ann.id, kind: 'member', status: 'active' }
  t.match((await users())[1], { ...row, email: ann.email, first_name: 'Ann' })

  await db.updateTable('people').set({ first_name: 'Anna' }).where('id', '=', ann.id).execute()
  await db.updateTable('memberships').set({ status: 'inactive' }).where('person_id', '=', ann.id).execute()
  await tell()
  t.match((await users())[1], { first_name: 'Anna', status: 'inactive' })
  await db.updateTable('memberships').set({ status: 'active' }).where('person_id', '=', ann.id).execute()
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', ann.id).execute()
  await tell()
  t.match((await users())[1], { status: 'inactive' }, 'disabled in the whole installation')

  const place = newId()
  await inside.query(`insert into workspaces (id, slug, name, created_by) values ($1, 'a', 'A', $2)`, [
    place,
    ann.id,
  ])
  for (const userId of [ann.id, landlord.personId]) {
    await inside.query(`insert into workspace_members values ($1, $2, 'editor')`, [place, userId])
  }
  await leave(id, ann.id)
  await tell()
  t.match((await users())[1], { id: ann.id, status: 'removed', email: ann.email }, 'rows still name them')
  const { rows } = await inside.query('select user_id from workspace_members')
  t.strictSame(rows, [{ user_id: landlord.personId }], "their roles are gone, and nobody else's")

  await db.updateTable('people').set({ disabled_at: null }).where('id', '=', ann.id).execute()
  await join(id, ann.id)
  await tell()
  t.match(await users(), [{}, { id: ann.id, status: 'active' }], 'the same person when they come back')
})

t.test('who was removed and is back before it is told has none of the roles they had', async (t) => {
  const { id, tell, inside } = await newTenant()
  const ann = await addPerson()
  await join(id, ann.id)
  await tell()
  const [before, after] = [newId(), newId()]
  for (const place of [before, after]) {
    await inside.query(`insert into workspaces (id, slug, name) values ($1, $2, 'A')`, [place, place])
  }
  const give = (place: string) =>
    inside.query(`insert into workspace_members values ($1, $2, 'admin')`, [place, ann.id])
  await give(before)
  await leave(id, ann.id)
  await join(id, ann.id)
  await give(after)
  await tell()
  const { rows } = await inside.query('select workspace_id from workspace_members')
  t.strictSame(rows, [{ workspace_id: after }], 'what they were given since stays')
})

t.test('a roll of more people than a statement takes values is read', async (t) => {
  const { id } = await newTenant()
  const people = [landlord.personId, ...Array.from({ length: 70_000 }, () => newId())]
  const states = await readMembers(db, id, people)
  t.equal(states.length, 70_001)
  t.equal(states.filter(({ member }) => member !== undefined).length, 1)
})

t.test('telling again what is known changes nothing', async (t) => {
  const { id, inside, tell } = await newTenant()
  await tell()
  const versions = async () => (await inside.query('select xmin, id, updated_at from users')).rows
  const before = await versions()
  await db.insertInto('tenant_outbox').values({ tenant_id: id, kind: 'roll', ref: id }).execute()
  await tell()
  t.strictSame(await versions(), before)
})

t.test('somebody who was added by their address gets the account when they have one', async (t) => {
  const { id, inside, users, tell } = await newTenant()
  await tell()
  const ann = await addPerson()
  const added = newId()
  await inside.query(
    `insert into users (id, kind, status, email, first_name) values ($1, 'added', 'active', $2, 'A.')`,
    [added, ann.email.toUpperCase()],
  )
  await join(id, ann.id)
  await tell()
  t.match(await users(), [
    {},
    { id: added, person_id: ann.id, kind: 'member', email: ann.email, first_name: 'Ann' },
  ])
  await leave(id, ann.id)
  await tell()
  t.match(await users(), [{}, { id: added, status: 'removed' }])
})

t.test('an address belongs to the account that has it in the master', async (t) => {
  const { id, inside, users, tell } = await newTenant()
  await tell()
  const old = await addPerson({ email: 'shared@example.com' })
  await join(id, old.id)
  await tell()
  await leave(id, old.id)
  await db.updateTable('people').set({ email: 'gone@example.com' }).where('id', '=', old.id).execute()
  const young = await addPerson({ email: 'shared@example.com' })
  await join(id, young.id)
  await tell()
  t.match(await users(), [{}, { id: old.id, email: null }, { id: young.id, email: 'shared@example.com' }])

  // Added here while the account was already in the directory, under another address.
  const added = newId()
  await inside.query(
    `insert into users (id, kind, status, email) values ($1, 'added', 'active', 'new@example.com')`,
    [added],
  )
  await db.updateTable('people').set({ email: 'new@example.com' }).where('id', '=', young.id).execute()
  await tell()
  t.match(await users(), [{}, {}, { id: young.id, email: 'new@example.com' }, { id: added, email: null }])
})

t.test('of a system user the directory knows the name and no address', async (t) => {
  const { id, users, tell } = await newTenant()
  const robot = await addPerson({ kind: 'system' })
  await join(id, robot.id)
  await tell()
  t.match((await users()).at(-1), { id: robot.id, kind: 'system', status: 'active', email: null })
})

t.test('an operator who was here stays in the directory, though they are no member', async (t) => {
  const { id, inside, users, tell } = await newTenant()
  const { id: ref } = await addPerson()
  await inside.query(
    `insert into users (id, person_id, kind, status) values ($1, $1, 'operator', 'active')`,
    [ref],
  )
  await db.insertInto('tenant_outbox').values({ tenant_id: id, kind: 'member', ref }).execute()
  await tell()
  t.match(
    (await users()).find((row) => row.id === ref),
    { kind: 'operator', status: 'active' },
  )
})

t.test('the roll repairs a directory, whatever has happened to it', async (t) => {
  const { id, inside, users, tell } = await newTenant()
  const [ann, bob] = [await addPerson(), await addPerson()]
  await join(id, ann.id)
  await tell()
  const before = await users()
  await inside.query('delete from users where id = $1', [ann.id])
  await inside.query(`update users set first_name = 'X', status = 'removed'`)
  await inside.query(`insert into users (id, person_id, kind, status) values ($1, $1, 'member', 'active')`, [
    bob.id,
  ])
  const asked = async () => {
    await manager.askRolls()
    const rolls = await db
      .selectFrom('tenant_outbox')
      .select('ref')
      .where('tenant_id', '=', id)
      .where('kind', '=', 'roll')
      .execute()
    await tell()
    return rolls.length
  }
  t.equal(await asked(), 1, 'the reconciler asks for it')
  const after = await users()
  const byId = (rows: { id: string }[]) => rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  t.strictSame(byId(after.filter((row) => row.id !== bob.id)), byId(before))
  t.match(
    after.find((row) => row.id === bob.id),
    { status: 'removed' },
  )
  t.equal(await asked(), 0, 'once a day')
  await db
    .updateTable('directory_rolls')
    .set({ asked_at: new Date(0) })
    .execute()
  t.equal(await asked(), 1)
})

t.test('a database that takes the place of another is told who has left since', async (t) => {
  const { id, inside, tell, users } = await newTenant()
  await tell()
  const bob = await addPerson()
  await inside.query(`insert into users (id, person_id, kind, status) values ($1, $1, 'member', 'active')`, [
    bob.id,
  ])
  const { database_id } = await db
    .selectFrom('tenants')
    .select('database_id')
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  await manager.refillSpares()
  const spare = await db
    .selectFrom('databases')
    .select('id')
    .where('status', '=', 'spare')
    .executeTakeFirstOrThrow()
  const hold = (databaseId: string | null) =>
    db.updateTable('tenants').set({ database_id: databaseId }).where('id', '=', id).execute()
  // A restored backup, to the deed: another database, then one that is like the first.
  await hold(spare.id)
  await hold(database_id)
  await tell()
  t.match((await users()).at(-1), { id: bob.id, status: 'removed' })
})
