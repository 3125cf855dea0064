import type pg from 'pg'
import t, { type Test } from 'tap'
import { databaseName, newId, ownerRoleName } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { findPlacement } from '../../src/master/placement.ts'
import { sealProvisioner } from '../../src/master/secrets.ts'
import type { DatabaseRow } from '../../src/tenant-manager/build-database.ts'
import type { FindingKind } from '../../src/tenant-manager/findings.ts'
import { LiveLocks } from '../../src/tenant-manager/live-locks.ts'
import { connectTo, refusalOf, startTestPostgres } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres, { spareDatabases: 1 })
const { master, manager, cluster, createTenant } = landlord
const { db } = master
await manager.refillSpares()

const rowOf = (id: string | null): Promise<DatabaseRow> =>
  db.selectFrom('databases').selectAll().where('id', '=', id).executeTakeFirstOrThrow()

const exists = async (admin: pg.Client, name: string): Promise<boolean> => {
  const { rows } = await admin.query(
    'select from pg_database where datname = $1 union all select from pg_roles where rolname in ($1, $2)',
    [name, ownerRoleName(name)],
  )
  return rows.length > 0
}

/** A fresh tenant, so that no test meets the traces of another. */
const newTenant = async () => {
  await manager.refillSpares()
  const tenant = await createTenant()
  await manager.refillSpares()
  return { tenant, database: await rowOf(tenant.database_id) }
}

const found = async (): Promise<FindingKind[]> => (await manager.inspect()).map(({ kind }) => kind)

/** Inspect sees exactly this fault; repair takes it away; then there is nothing to see. */
const isFoundAndRepaired = async (t: Test, kind: FindingKind): Promise<void> => {
  t.strictSame(await found(), [kind])
  const report = await manager.repair()
  t.strictSame([report.repaired.map((f) => f.kind), report.remaining], [[kind], []])
  await manager.refillSpares()
  t.strictSame(await manager.inspect(), [])
}

/** Inspect sees exactly this fault, and repair leaves it to an operator. */
const isOnlyReported = async (t: Test, kind: FindingKind): Promise<void> => {
  t.strictSame(await found(), [kind])
  const report = await manager.repair()
  t.strictSame([report.repaired, report.remaining.map((f) => f.kind)], [[], [kind]])
}

t.test('a sound installation has no findings, and its repair does nothing', async (t) => {
  await newTenant()
  t.strictSame(await manager.inspect(), [])
  t.strictSame(await manager.repair(), { repaired: [], remaining: [] })
})

t.test('CONNECT given back to PUBLIC is found and revoked', async (t) => {
  const { database } = await newTenant()
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`grant connect on database ${database.name} to public`)
  await isFoundAndRepaired(t, 'open_to_others')
})

t.test("another tenant's role let in is found and shut out", async (t) => {
  const { database } = await newTenant()
  const { database: other } = await newTenant()
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`grant connect on database ${database.name} to ${other.name}`)
  await isFoundAndRepaired(t, 'open_to_others')
})

t.test('a database shut to its own tenant is opened again', async (t) => {
  const { database } = await newTenant()
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`revoke connect on database ${database.name} from ${database.name}`)
  await isFoundAndRepaired(t, 'closed_to_tenant')
})

for (const name of ['postgres', 'template1', 'freehold']) {
  t.test(`PUBLIC let into ${name} is found; the reconciler revokes it where it may`, async (t) => {
    const admin = await connectTo(t, postgres.superuser)
    await admin.query(`grant connect on database ${name} to public`)
    // Only the master's own database belongs to a role of ours.
    if (name === 'freehold') return isFoundAndRepaired(t, 'cluster_open_to_public')
    await isOnlyReported(t, 'cluster_open_to_public')
    await t.rejects(manager.prepareDefaultCluster(postgres.provisioner), {
      name: 'OperatorError',
      message: new RegExp(`revoke connect, temporary on database "${name}" from public;`),
    })
    await admin.query(`revoke connect on database ${name} from public`)
  })
}

const grants: [what: string, sql: (name: string, other: string) => string][] = [
  ['createdb', (name) => `alter role ${name} createdb`],
  ['createrole', (name) => `alter role ${name} createrole`],
  ["another tenant's role", (name, other) => `grant ${other} to ${name}`],
  ["another tenant's owner", (name, other) => `grant ${other}_owner to ${name}`],
  ['its own owner', (name) => `grant ${name}_owner to ${name}`],
  ['a role of the server', (name) => `grant pg_read_all_data to ${name}`],
  [
    'more of the group',
    (name) => `grant freehold_tenant to ${name} with set true, admin true granted by freehold_provisioner`,
  ],
  ['createdb for the owner', (name) => `alter role ${name}_owner createdb`],
]

for (const [what, sql] of grants) {
  t.test(`a role given ${what} is found`, async (t) => {
    const { database } = await newTenant()
    const { database: other } = await newTenant()
    const admin = await connectTo(t, postgres.superuser)
    await admin.query(sql(database.name, other.name))
    const grantedByOthers = /another|its own|server/.test(what)
    if (!grantedByOthers) return isFoundAndRepaired(t, 'excess_rights')
    // What a superuser granted, only a superuser takes away.
    await isOnlyReported(t, 'excess_rights')
    for (const role of [other.name, `${other.name}_owner`, `${database.name}_owner`, 'pg_read_all_data']) {
      await admin.query(`revoke ${role} from ${database.name}`)
    }
  })
}

for (const attribute of ['superuser', 'replication', 'bypassrls']) {
  t.test(`a role made ${attribute} is reported, with the statement for a superuser`, async (t) => {
    const { database } = await newTenant()
    const admin = await connectTo(t, postgres.superuser)
    await admin.query(`alter role ${database.name} ${attribute}`)
    await isOnlyReported(t, 'excess_rights')
    const [finding] = await manager.inspect()
    t.match(finding, { repairable: false, message: /run as a superuser: alter role t_\w+ nosuperuser/ })
    await admin.query(`alter role ${database.name} no${attribute}`)
  })
}

const changes: [what: string, sql: (name: string) => string][] = [
  ['NOLOGIN', (name) => `alter role ${name} nologin`],
  ['a setting', (name) => `alter role ${name} set statement_timeout = 0`],
  ['a setting in its database', (name) => `alter role ${name} in database ${name} set search_path = evil`],
  ['another connection limit', (name) => `alter role ${name} connection limit -1`],
  ['a password that expires', (name) => `alter role ${name} valid until '2020-01-01'`],
  ['LOGIN for the owner', (name) => `alter role ${name}_owner login`],
  ['no group', (name) => `revoke freehold_tenant from ${name} granted by freehold_provisioner`],
]

for (const [what, sql] of changes) {
  t.test(`a role changed to ${what} is found and put right`, async (t) => {
    const { database } = await newTenant()
    const admin = await connectTo(t, postgres.superuser)
    await admin.query(sql(database.name))
    await isFoundAndRepaired(t, 'role_changed')
  })
}

t.test('settings that a tenant gave its own role are found and reset', async (t) => {
  const { database } = await newTenant()
  const { id } = await db
    .selectFrom('tenants')
    .select('id')
    .where('database_id', '=', database.id)
    .executeTakeFirstOrThrow()
  const placement = await findPlacement(db, landlord.box)(id)
  if (placement?.status !== 'active') throw new Error('the tenant has no placement')
  const tenant = await connectTo(t, placement.address)
  await tenant.query(`alter role ${database.name} set work_mem = '1GB'`)
  await isFoundAndRepaired(t, 'role_changed')
})

t.test('a login role that is gone is made again, with the same secret', async (t) => {
  const { tenant, database } = await newTenant()
  const placement = await findPlacement(db, landlord.box)(tenant.id)
  if (placement?.status !== 'active') throw new Error('the tenant has no placement')
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`revoke all on database ${database.name} from ${database.name}`)
  await admin.query(`drop role ${database.name}`)
  t.equal(await refusalOf(placement.address), '28P01')
  await isFoundAndRepaired(t, 'missing_role')
  t.equal(await refusalOf(placement.address), undefined)
})

t.test('a build without a live builder is erased; one with a live builder is left alone', async (t) => {
  const admin = await connectTo(t, postgres.superuser)
  const row = await manager.buildDatabase(cluster.id)
  await db.updateTable('databases').set({ status: 'building' }).where('id', '=', row.id).execute()
  const builder = new LiveLocks(master, createLogger('silent'))
  const lock = await builder.tryHold(`database:${row.id}`)
  t.strictSame(await manager.inspect(), [])
  t.strictSame(await manager.repair(), { repaired: [], remaining: [] })
  t.ok(await exists(admin, row.name))
  await lock?.release()
  await builder.close()
  await isFoundAndRepaired(t, 'half_built_database')
  t.notOk(await exists(admin, row.name))
})

t.test('an erasure that was cut short is finished, also one that left the database invalid', async (t) => {
  const admin = await connectTo(t, postgres.superuser)
  const row = await manager.buildDatabase(cluster.id)
  await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', row.id).execute()
  await admin.query('update pg_database set datconnlimit = -2 where datname = $1', [row.name])
  await isFoundAndRepaired(t, 'unfinished_erase')
  t.notOk(await exists(admin, row.name))
})

t.test('a database of ours that the master does not know is erased if nobody ever used it', async (t) => {
  const admin = await connectTo(t, postgres.superuser)
  const row = await manager.buildDatabase(cluster.id)
  await db.deleteFrom('databases').where('id', '=', row.id).execute()
  await isFoundAndRepaired(t, 'orphan_database')
  t.notOk(await exists(admin, row.name))
})

t.test('roles of ours without database and row are erased', async (t) => {
  const admin = await connectTo(t, postgres.superuser)
  const row = await manager.buildDatabase(cluster.id)
  await admin.query(`drop database ${row.name}`)
  await db.deleteFrom('databases').where('id', '=', row.id).execute()
  await isFoundAndRepaired(t, 'orphan_database')
  t.notOk(await exists(admin, row.name))
})

t.test(
  'a database with data that the master does not know is never erased: the master may be an old backup',
  async (t) => {
    const row = await manager.buildDatabase(cluster.id)
    const inside = await connectTo(t, { ...postgres.superuser, database: row.name })
    await inside.query(`insert into audit_log (id, actor_kind, action, entity_type)
    values (gen_random_uuid(), 'person', 'project.created', 'project')`)
    await db.deleteFrom('databases').where('id', '=', row.id).execute()
    await isOnlyReported(t, 'orphan_database')
    t.equal((await inside.query('select from audit_log')).rowCount, 1)
    await inside.end()
    await db
      .insertInto('databases')
      .values({ ...row, status: 'erasing' })
      .execute()
    await manager.eraseDatabase(row.id)
  },
)

t.test("a foreign installation's databases are neither found nor touched", async (t) => {
  const admin = await connectTo(t, postgres.superuser)
  const name = databaseName(newId())
  await admin.query(`create role ${name}_owner`)
  await admin.query(`comment on role ${name}_owner is 'freehold ${newId()}'`)
  await admin.query(`create role ${name} login createdb`)
  await admin.query(`create database ${name} owner ${name}_owner`)
  t.strictSame(await manager.inspect(), [])
  await manager.repair()
  t.ok(await exists(admin, name))
  // Not even when the master claims it.
  const row = { id: newId(), cluster_id: cluster.id, name, secret: Buffer.alloc(1), schema_version: '9999_x' }
  await db
    .insertInto('databases')
    .values({ ...row, status: 'retired' })
    .execute()
  await isOnlyReported(t, 'foreign_owner')
  await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', row.id).execute()
  await t.rejects(manager.eraseDatabase(row.id), /does not carry the mark of this installation/)
  t.ok(await exists(admin, name))
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
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`drop database ${spare.name}`)
  t.strictSame(await found(), ['missing_database'])
  await manager.repair()
  await manager.refillSpares()
  t.strictSame(await manager.inspect(), [])
  t.notOk(await exists(admin, spare.name))
})

t.test('a held database that is missing is reported and its row and roles are kept', async (t) => {
  const { tenant, database } = await newTenant()
  const admin = await connectTo(t, postgres.superuser)
  await admin.query(`drop database ${database.name}`)
  await isOnlyReported(t, 'missing_database')
  t.match(await rowOf(database.id), { status: 'held' })
  t.ok(await exists(admin, database.name))
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
  const admin = await connectTo(t, postgres.superuser)
  const provisioner = await connectTo(t, postgres.provisioner)
  const mine = ['freehold_template_00000000000000aa', 'freehold_unfinished_x']
  const theirs = 'freehold_template_00000000000000bb'
  for (const name of [...mine, theirs]) {
    await provisioner.query(`create database ${name} is_template true allow_connections false`)
    const mark = name === theirs ? newId() : landlord.installationId
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
        provisioner: sealProvisioner(landlord.box, id, login),
      })
      .execute()
    await isOnlyReported(t, 'cluster_unreachable')
    await db.deleteFrom('clusters').where('id', '=', id).execute()
    t.strictSame(await manager.inspect(), [])
  },
)
