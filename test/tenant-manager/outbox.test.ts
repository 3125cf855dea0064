import { sql } from 'kysely'
import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { writeMasterAudit } from '../../src/master/audit-log.ts'
import type { MasterTransaction } from '../../src/master/master.ts'
import { readMembers } from '../../src/tenant-manager/deliver-member.ts'
import { tellerLock } from '../../src/tenant-manager/deliver-outbox.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { databaseOf, startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'

/** What the master has for tenants' own databases, and how it gets there. */

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres, { spareDatabases: 1 })
const { manager, master, createTenant } = landlord
const { db } = master

const newTenant = async () => {
  await manager.refillSpares()
  const tenant = await createTenant()
  await manager.deliverOutbox(tenant.id)
  await sql`delete from graphile_worker._private_jobs`.execute(db)
  return tenant
}

const write = (trx: MasterTransaction, tenantId: string, action: string) =>
  writeMasterAudit(trx, {
    ...{ actor: { kind: 'operator', id: null }, action, tenantId },
    entity: { type: 'test', id: null },
  })
const writeAlone = (tenantId: string, action: string) =>
  db.transaction().execute((trx) => write(trx, tenantId, action))

const waiting = (tenantId: string) =>
  db
    .selectFrom('tenant_outbox')
    .select(['kind', 'ref'])
    .where('tenant_id', '=', tenantId)
    .orderBy('id')
    .execute()
const jobKeys = async (): Promise<(string | null)[]> => {
  const { rows } = await sql<{ key: string | null }>`
    select key from graphile_worker.jobs where task_identifier = 'tenant-outbox' order by id`.execute(db)
  return rows.map(({ key }) => key)
}
const key = (tenantId: string): string => `tenant-outbox:${tenantId}`
const told = async (tenantId: string): Promise<string[]> => {
  const inside = await databaseOf(t, { db, superuser: postgres.superuser }, tenantId)
  const { rows } = await inside.query("select action from audit_log where entity_type = 'test' order by id")
  return rows.map(({ action }) => action)
}
const addPerson = async (): Promise<string> => {
  const id = newId()
  await db
    .insertInto('people')
    .values({ id, email: `${id}@example.com`, first_name: 'A' })
    .execute()
  return id
}
const roleId = async (): Promise<string> =>
  (await db.selectFrom('roles').select('id').where('name', '=', 'Viewer').executeTakeFirstOrThrow()).id

t.test(
  'an entry about a tenant waits for it once the change is committed, and one job for all of them',
  async (t) => {
    const { id } = await newTenant()
    await t.rejects(
      db.transaction().execute(async (trx) => {
        await write(trx, id, 'never')
        throw new Error('changed my mind')
      }),
    )
    t.strictSame([await waiting(id), await jobKeys()], [[], []])
    for (const action of ['first', 'second', 'third']) await writeAlone(id, action)
    t.match(await waiting(id), [{ kind: 'audit' }, { kind: 'audit' }, { kind: 'audit' }])
    t.strictSame(await jobKeys(), [key(id)])
    await manager.deliverOutbox(id)
    t.strictSame([await told(id), await waiting(id)], [['first', 'second', 'third'], []])
  },
)

t.test(
  'each tenant is told what concerns it and nothing else; what concerns none stays in the master',
  async (t) => {
    const [one, other] = [await newTenant(), await newTenant()]
    await writeAlone(one.id, 'of one')
    await writeAlone(other.id, 'of the other')
    await db.transaction().execute((trx) =>
      writeMasterAudit(trx, {
        actor: { kind: 'operator', id: null },
        ...{ action: 'of nobody', entity: { type: 'test', id: null } },
      }),
    )
    for (const { id } of [one, other]) await manager.deliverOutbox(id)
    t.strictSame([await told(one.id), await told(other.id)], [['of one'], ['of the other']])
  },
)

t.test('many at once tell everything once, more than a batch too', async (t) => {
  const { id } = await newTenant()
  const actions = Array.from({ length: 700 }, (_, n) => `${n}`)
  await db.transaction().execute(async (trx) => {
    for (const action of actions) await write(trx, id, action)
  })
  await Promise.all(Array.from({ length: 4 }, () => manager.deliverOutbox(id)))
  t.strictSame(await told(id), actions)
  t.strictSame(await waiting(id), [])
})

t.test('one teller at a time: what it tells is as new as its turn', async (t) => {
  const { id } = await newTenant()
  await writeAlone(id, 'before')
  const other = await databaseOf(t, { db, superuser: postgres.superuser }, id)
  await other.query('select pg_advisory_lock($1)', [tellerLock])
  let done = false
  const delivered = manager.deliverOutbox(id).then(() => {
    done = true
  })
  const waits = "select from pg_locks where locktype = 'advisory' and not granted"
  await until(async () => done || (await other.query(waits)).rowCount === 1)
  t.notOk(done, 'it waits')
  await writeAlone(id, 'meanwhile')
  await other.query('select pg_advisory_unlock_all()')
  await delivered
  t.strictSame(await told(id), ['before', 'meanwhile'])
})

t.test('a tenant without a database is told when it has one, of its creation too', async (t) => {
  await db.deleteFrom('databases').where('status', '=', 'spare').execute()
  const { id, status } = await createTenant()
  t.equal(status, 'pending')
  await writeAlone(id, 'early')
  await sql`delete from graphile_worker._private_jobs`.execute(db)
  await manager.deliverOutbox(id)
  t.equal((await waiting(id)).length, 3, 'the creation, its first member and the entry')
  await manager.provisionTenant(id)
  t.strictSame(await jobKeys(), [key(id)], 'the deed wakes what waited')
  await manager.deliverOutbox(id)
  t.strictSame(await told(id), ['early'])
  const inside = await databaseOf(t, { db, superuser: postgres.superuser }, id)
  const { rows } = await inside.query("select entity_id from audit_log where action = 'tenant.created'")
  t.strictSame(rows, [{ entity_id: id }])
  await manager.repair()
})

t.test('a database that is not migrated yet is not touched, and is told after that', async (t) => {
  const { id, database_id } = await newTenant()
  const setVersion = (schema_version: string) =>
    db.updateTable('databases').set({ schema_version }).where('id', '=', database_id).execute()
  const version = await manager.schemaVersion()
  await setVersion('0001_projects')
  await writeAlone(id, 'later')
  await sql`delete from graphile_worker._private_jobs`.execute(db)
  await manager.deliverOutbox(id)
  t.strictSame(await told(id), [])
  await setVersion(version)
  t.strictSame(await jobKeys(), [key(id)])
  await manager.deliverOutbox(id)
  t.strictSame(await told(id), ['later'])
})

t.test(
  'every change of who is a member, or of how they are called, waits for each tenant concerned',
  async (t) => {
    const [one, other] = [await newTenant(), await newTenant()]
    const personId = await addPerson()
    const member = [{ kind: 'member', ref: personId }]
    const left = [{ kind: 'left', ref: personId }, ...member]
    const role_id = await roleId()
    const changes = async (work: () => Promise<unknown>) => {
      await work()
      const found = [await waiting(one.id), await waiting(other.id)]
      for (const { id } of [one, other]) await manager.deliverOutbox(id)
      return found
    }
    const join = (tenant_id: string) =>
      db.insertInto('memberships').values({ tenant_id, person_id: personId, role_id }).execute()
    const updatePerson = (values: object) =>
      db.updateTable('people').set(values).where('id', '=', personId).execute()
    const updateMember = (values: object) =>
      db
        .updateTable('memberships')
        .set(values)
        .where('tenant_id', '=', one.id)
        .where('person_id', '=', personId)
        .execute()
    t.strictSame(await changes(() => join(one.id)), [member, []])
    t.strictSame(await changes(() => join(other.id)), [[], member])
    for (const values of [
      { first_name: 'B' },
      { last_name: 'C' },
      { email: `new-${personId}@example.com` },
      { disabled_at: new Date() },
      { disabled_at: null },
    ]) {
      t.strictSame(
        await changes(() => updatePerson(values)),
        [member, member],
        String(Object.keys(values)[0]),
      )
    }
    t.strictSame(await changes(() => updatePerson({ first_name: 'B', password_hash: 'x' })), [[], []])
    t.strictSame(await changes(() => updateMember({ status: 'inactive' })), [member, []])
    t.strictSame(await changes(() => updateMember({ updated_at: new Date() })), [[], []])
    const state = await readMembers(db, one.id, [personId])
    t.match(state, [{ personId, member: { first_name: 'B', last_name: 'C', status: 'inactive' } }])
    t.strictSame(
      await changes(() =>
        db
          .deleteFrom('memberships')
          .where('tenant_id', '=', one.id)
          .where('person_id', '=', personId)
          .execute(),
      ),
      [left, []],
    )
    t.strictSame(await readMembers(db, one.id, [personId]), [{ personId, member: undefined }])
    t.strictSame(await changes(() => db.deleteFrom('people').where('id', '=', personId).execute()), [
      [],
      left,
    ])
  },
)

t.test('two changes that concern the same tenants in turns do not wait in a circle', async (t) => {
  const [one, other] = [await newTenant(), await newTenant()]
  const [a, b] = [await connectTo(t, postgres.master), await connectTo(t, postgres.master)]
  const tell = (client: typeof a, tenantId: string) =>
    client.query("insert into tenant_outbox (tenant_id, kind, ref) values ($1, 'member', $1)", [tenantId])
  for (const client of [a, b]) await client.query("begin; set local lock_timeout = '5s'")
  await tell(a, one.id)
  await tell(b, other.id)
  await tell(a, other.id)
  await tell(b, one.id)
  await a.query('commit')
  t.strictSame((await jobKeys()).sort(), [key(one.id), null].sort(), 'a job for each tenant')
  await b.query('commit')
  t.equal((await jobKeys()).length, 4)
})

t.test('what waits without a job is found and queued again', async (t) => {
  const { id, slug } = await newTenant()
  await writeAlone(id, 'forgotten')
  await sql`delete from graphile_worker._private_jobs`.execute(db)
  const age = (minutes: number) =>
    db
      .updateTable('tenant_outbox')
      .set({ created_at: sql`now() - make_interval(mins => ${minutes})` })
      .where('tenant_id', '=', id)
      .execute()
  const found = async () =>
    (await manager.inspect()).filter(({ kind, subject }) => kind === 'tenant_not_told' && subject === slug)
  await age(4)
  t.strictSame(await found(), [])
  await age(6)
  t.match(await found(), [{ subject: slug, target: { tenantId: id } }])
  const { repaired } = await manager.repair()
  t.ok(repaired.some(({ kind, subject }) => kind === 'tenant_not_told' && subject === slug))
  t.ok((await jobKeys()).includes(key(id)))
  await manager.deliverOutbox(id)
  t.strictSame(await told(id), ['forgotten'])
})

t.test('with a tenant goes what it was not told', async (t) => {
  const { id } = await newTenant()
  await writeAlone(id, 'late')
  const now = new Date()
  const values = { status: 'deleted', restore_to: 'active', deleted_at: now, purge_after: now } as const
  await db.updateTable('tenants').set(values).where('id', '=', id).execute()
  await manager.purgeTenants()
  t.strictSame(await waiting(id), [])
  await db.insertInto('tenant_outbox').values({ tenant_id: id, kind: 'audit', ref: id }).execute()
  await manager.deliverOutbox(id)
  t.strictSame(await waiting(id), [], 'not even what came too late is left')
})
