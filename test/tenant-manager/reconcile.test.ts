import t from 'tap'
import { databaseName, newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { sealProvisioner } from '../../src/master/secrets.ts'
import { LiveLocks } from '../../src/tenant-manager/live-locks.ts'
import { connectTo } from '../helpers/postgres.ts'
import { openPlantation } from './plantation.ts'

const plantation = await openPlantation(t)
const { postgres, admin, db, master, manager, cluster, box, createTenant } = plantation
const { newTenant, rowOf, exists, found, isFoundAndRepaired, isOnlyReported } = plantation

t.test('a build without a live builder is erased; one with a live builder is left alone', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await db.updateTable('databases').set({ status: 'building' }).where('id', '=', row.id).execute()
  const builder = new LiveLocks(master, createLogger('silent'))
  const lock = await builder.tryHold(`database:${row.id}`)
  t.strictSame(await manager.inspect(), [])
  t.strictSame(await manager.repair(), { repaired: [], remaining: [] })
  t.ok(await exists(row.name))
  await lock?.release()
  await builder.close()
  await isFoundAndRepaired(t, 'half_built_database')
  t.notOk(await exists(row.name))
})

t.test('an erasure that was cut short is finished, also one that left the database invalid', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', row.id).execute()
  await admin.query('update pg_database set datconnlimit = -2 where datname = $1', [row.name])
  await isFoundAndRepaired(t, 'unfinished_erase')
  t.notOk(await exists(row.name))
})

t.test('a database of ours that the master does not know is erased if nobody ever used it', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await db.deleteFrom('databases').where('id', '=', row.id).execute()
  await isFoundAndRepaired(t, 'orphan_database')
  t.notOk(await exists(row.name))
})

t.test('roles of ours without database and row are erased', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await admin.query(`drop database ${row.name}`)
  await db.deleteFrom('databases').where('id', '=', row.id).execute()
  await isFoundAndRepaired(t, 'orphan_database')
  t.notOk(await exists(row.name))
})

t.test(
  'a database with data that the master does not know is never erased: the master may be an old backup',
  async (t) => {
    const row = await manager.buildDatabase(cluster.id)
    const inside = await connectTo(t, { ...postgres.superuser, database: row.name })
    await inside.query(`insert into audit_log (id, actor_kind, action, entity_type)
    values (gen_random_uuid(), 'person', 'project.created', 'project')`)
    // An open session would keep the database by itself.
    await inside.end()
    await db.deleteFrom('databases').where('id', '=', row.id).execute()
    await isOnlyReported(t, 'orphan_database')
    const again = await connectTo(t, { ...postgres.superuser, database: row.name })
    t.equal((await again.query('select from audit_log')).rowCount, 1)
    await again.end()
    await db
      .insertInto('databases')
      .values({ ...row, status: 'erasing' })
      .execute()
    await manager.eraseDatabase(row.id)
  },
)

t.test("a foreign installation's databases are neither found nor touched", async (t) => {
  const name = databaseName(newId())
  await admin.query(`create role ${name}_owner`)
  await admin.query(`comment on role ${name}_owner is 'freehold ${newId()}'`)
  await admin.query(`create role ${name} login createdb`)
  await admin.query(`create database ${name} owner ${name}_owner`)
  t.strictSame(await manager.inspect(), [])
  await manager.repair()
  t.ok(await exists(name))
  // Not even when the master claims it.
  const row = { id: newId(), cluster_id: cluster.id, name, secret: Buffer.alloc(1), schema_version: '9999_x' }
  await db
    .insertInto('databases')
    .values({ ...row, status: 'retired' })
    .execute()
  await isOnlyReported(t, 'foreign_owner')
  await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', row.id).execute()
  await t.rejects(manager.eraseDatabase(row.id), /does not carry the mark of this installation/)
  t.ok(await exists(name))
  await db.deleteFrom('databases').where('id', '=', row.id).execute()
  await db.deleteFrom('operations').where('database_id', '=', row.id).execute()
})

t.test('a spare that is missing on its cluster is struck off', async (t) => {
  await manager.refillSpares()
  const spare = await db
    .selectFrom('databases')
    .selectAll()
    .where('status', '=', 'spare')
    .executeTakeFirstOrThrow()
  await admin.query(`drop database ${spare.name}`)
  t.strictSame(await found(), ['missing_database'])
  await manager.repair()
  await manager.refillSpares()
  t.strictSame(await manager.inspect(), [])
  t.notOk(await exists(spare.name))
})

t.test('a held database that is missing is reported and its row and roles are kept', async (t) => {
  const { tenant, database } = await newTenant()
  await admin.query(`drop database ${database.name}`)
  await isOnlyReported(t, 'missing_database')
  t.match(await rowOf(database.id), { status: 'held' })
  t.ok(await exists(database.name))
  await db
    .updateTable('tenants')
    .set({ status: 'deleted', database_id: null })
    .where('id', '=', tenant.id)
    .execute()
  await db.updateTable('databases').set({ status: 'retired' }).where('id', '=', database.id).execute()
  await isFoundAndRepaired(t, 'missing_database')
})

t.test('a held database without a tenant is reported and kept', async (t) => {
  const { tenant, database } = await newTenant()
  await db
    .updateTable('tenants')
    .set({ status: 'deleted', database_id: null })
    .where('id', '=', tenant.id)
    .execute()
  await isOnlyReported(t, 'held_without_tenant')
  t.match(await rowOf(database.id), { status: 'held' })
  await db
    .updateTable('tenants')
    .set({ status: 'active', database_id: database.id })
    .where('id', '=', tenant.id)
    .execute()
})

t.test(
  "a tenant's database that counts as a spare is marked held; as retired it is only reported",
  async (t) => {
    const { database } = await newTenant()
    const put = (status: 'spare' | 'retired' | 'held') =>
      db.updateTable('databases').set({ status }).where('id', '=', database.id).execute()
    await put('spare')
    await isFoundAndRepaired(t, 'deed_to_wrong_database')
    t.match(await rowOf(database.id), { status: 'held' })
    await put('retired')
    await isOnlyReported(t, 'deed_to_wrong_database')
    await put('held')
  },
)

t.test('a tenant that waits with no job under way is queued again', async (t) => {
  const { tenant, database } = await newTenant()
  await db
    .updateTable('tenants')
    .set({ status: 'pending', database_id: null })
    .where('id', '=', tenant.id)
    .execute()
  await db.updateTable('databases').set({ status: 'spare' }).where('id', '=', database.id).execute()
  t.strictSame(await found(), ['tenant_pending'])
  await manager.repair()
  t.strictSame(await manager.inspect(), [])
  await manager.provisionTenant(tenant.id)
  t.strictSame(await manager.inspect(), [])
})

t.test(
  'an active tenant without a deed is reported, should the check that forbids it ever be gone',
  async (t) => {
    const { tenant, database } = await newTenant()
    const admin = await connectTo(t, { ...postgres.superuser, database: 'freehold' })
    const { rows } = await admin.query(
      `select conname, pg_get_constraintdef(oid) as definition from pg_constraint
      where conrelid = 'tenants'::regclass and contype = 'c' and conkey @> array(
        select attnum from pg_attribute where attrelid = 'tenants'::regclass and attname in ('database_id', 'status'))`,
    )
    await admin.query(`alter table tenants drop constraint ${rows[0].conname}`)
    await admin.query('update tenants set database_id = null where id = $1', [tenant.id])
    t.strictSame((await found()).sort(), ['held_without_tenant', 'tenant_without_database'])
    await admin.query('update tenants set database_id = $2 where id = $1', [tenant.id, database.id])
    await admin.query(`alter table tenants add constraint ${rows[0].conname} ${rows[0].definition}`)
  },
)

t.test('an operation whose process died is recorded as failed', async (t) => {
  const { tenant, database } = await newTenant()
  await db
    .insertInto('operations')
    .values({ id: newId(), kind: 'migrate', status: 'running', step: 'x', database_id: database.id })
    .execute()
  await isFoundAndRepaired(t, 'stalled_operation')
  await db
    .insertInto('operations')
    .values({ id: newId(), kind: 'provision', status: 'running', step: 'x', tenant_id: tenant.id })
    .execute()
  await isFoundAndRepaired(t, 'stalled_operation')
})

t.test('missing spares are noticed', async (t) => {
  await manager.refillSpares()
  await createTenant()
  const [finding] = await manager.inspect()
  t.match(finding, { kind: 'too_few_spares', severity: 'notice' })
  await manager.refillSpares()
})

t.test('templates that are not needed any more are dropped, foreign ones are not', async (t) => {
  const provisioner = await connectTo(t, postgres.provisioner)
  const mine = ['freehold_template_00000000000000aa', 'freehold_unfinished_x']
  const theirs = 'freehold_template_00000000000000bb'
  for (const name of [...mine, theirs]) {
    await provisioner.query(`create database ${name} is_template true allow_connections false`)
    const mark = name === theirs ? newId() : plantation.installationId
    await admin.query(`comment on database ${name} is 'freehold ${mark}'`)
  }
  t.strictSame(await found(), ['left_template', 'left_template'])
  await manager.repair()
  t.strictSame(await manager.inspect(), [])
  const { rows } = await admin.query(
    "select datname from pg_database where datname like 'freehold_%00000000%'",
  )
  t.strictSame(rows, [{ datname: theirs }])
})

t.test(
  'a cluster that cannot be reached is reported, and the others are looked at all the same',
  async (t) => {
    const id = newId()
    const login = { database: 'postgres', user: 'x', password: 'x' }
    await db
      .insertInto('clusters')
      .values({
        ...{
          id,
          name: 'far',
          kind: 'shared',
          region: 'far',
          host: '127.0.0.1',
          port: 1,
          ssl: 'disable',
          status: 'draining',
        },
        provisioner: sealProvisioner(box, id, login),
      })
      .execute()
    await isOnlyReported(t, 'cluster_unreachable')
    await db.deleteFrom('clusters').where('id', '=', id).execute()
    t.strictSame(await manager.inspect(), [])
  },
)

t.test('a database with a deed is never given up, whatever its status says', async (t) => {
  const { database } = await newTenant()
  await db.updateTable('databases').set({ status: 'retired' }).where('id', '=', database.id).execute()
  await admin.query(`alter database ${database.name} rename to hidden`)
  t.strictSame((await found()).sort(), ['deed_to_wrong_database', 'missing_database'])
  await manager.repair()
  t.match(await rowOf(database.id), { status: 'retired' })
  t.ok(await exists(database.name), 'its roles are there')
  await admin.query(`alter database hidden rename to ${database.name}`)
  await db.updateTable('databases').set({ status: 'held' }).where('id', '=', database.id).execute()
  t.strictSame(await manager.inspect(), [])
})
