import { sql } from 'kysely'
import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { findPlacement } from '../../src/master/placement.ts'
import { openProvisioner, sealProvisioner } from '../../src/master/secrets.ts'
import { startWorker } from '../../src/worker.ts'
import { noAccountTasks } from '../helpers/no-account-tasks.ts'
import { connectTo, refusalOf, startTestPostgres } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres)
const { master, manager, personId, createTenant } = landlord

t.afterEach(async (t) => {
  const running = await master.db
    .selectFrom('operations')
    .selectAll()
    .where('status', '=', 'running')
    .execute()
  // The test has ended by now, so an assertion of its own would come too late.
  if (running.length > 0) throw new Error(`${t.name}: left ${JSON.stringify(running)}`)
})

const statuses = async (): Promise<Record<string, number>> => {
  const rows = await master.db
    .selectFrom('databases')
    .select((eb) => ['status', eb.fn.countAll<string>().as('count')])
    .groupBy('status')
    .execute()
  return Object.fromEntries(rows.map((row) => [row.status, Number(row.count)]))
}

t.test('refilling builds the spares that are missing, and none more', async (t) => {
  await manager.refillSpares()
  t.strictSame(await statuses(), { spare: 3 })
  await manager.refillSpares()
  t.strictSame(await statuses(), { spare: 3 })
  t.strictSame(await manager.inspect(), [])
})

t.test('refills at the same time do not overshoot', async (t) => {
  const { id } = await master.db.selectFrom('databases').select('id').executeTakeFirstOrThrow()
  await master.db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', id).execute()
  await manager.eraseDatabase(id)
  t.strictSame(await statuses(), { spare: 2 })
  await Promise.all([manager.refillSpares(), manager.refillSpares(), manager.refillSpares()])
  t.strictSame(await statuses(), { spare: 3 })
})

t.test('a tenant gets the oldest spare, its first Admin, and a database that works', async (t) => {
  const oldest = await master.db
    .selectFrom('databases')
    .select('id')
    .orderBy('created_at')
    .limit(1)
    .executeTakeFirstOrThrow()
  const tenant = await createTenant({ name: 'Müller & Söhne' })
  t.match(tenant, { status: 'active', slug: 'muller-sohne', database_id: oldest.id, region: 'local' })
  const membership = await master.db
    .selectFrom('memberships')
    .innerJoin('roles', 'roles.id', 'memberships.role_id')
    .select(['person_id', 'roles.name'])
    .where('memberships.tenant_id', '=', tenant.id)
    .execute()
  t.strictSame(membership, [{ person_id: personId, name: 'Admin' }])
  const placement = await findPlacement(master, landlord.box)(tenant.id)
  if (placement?.status !== 'active') throw new Error('the tenant has no placement')
  const client = await connectTo(t, placement.address)
  t.strictSame((await client.query('select settings from settings')).rows, [{ settings: {} }])
})

t.test('a rolled back creation leaves the spare a spare', async (t) => {
  const before = await statuses()
  await t.rejects(
    master.db.transaction().execute(async (trx) => {
      await manager.createTenant(trx, {
        ...{ name: 'X', plan: 'free', tier: 'shared', firstAdmin: personId },
        by: { actor: { kind: 'person', id: personId } },
      })
      throw new Error('changed my mind')
    }),
    { message: 'changed my mind' },
  )
  t.strictSame(await statuses(), before)
})

t.test('a slug is given once; without one a free one is found', async (t) => {
  await manager.refillSpares()
  await createTenant({ slug: 'acme' })
  await t.rejects(createTenant({ slug: 'acme' }), { code: 'slug_taken' })
  t.match((await createTenant({ name: 'Acme' })).slug, /^acme-[a-z0-9]{5}$/)
  t.match((await createTenant({ name: '漢字' })).slug, 'tenant')
})

t.test(
  'creating queues a refill, and without a spare the building of the database, in one transaction',
  async (t) => {
    /** What was queued since the last call, but for what every change tells the tenant. */
    const queued = async (): Promise<string[]> => {
      const { rows } = await sql<{ key: string }>`select key from graphile_worker.jobs order by key`.execute(
        master.db,
      )
      await sql`delete from graphile_worker._private_jobs`.execute(master.db)
      return rows.map((row) => row.key).filter((key) => !key.startsWith('tenant-outbox:'))
    }
    await manager.refillSpares()
    await queued()
    for (let n = 0; n < 3; n += 1) {
      t.equal((await createTenant()).status, 'active')
      t.strictSame(await queued(), ['refill-spares'])
    }
    const tenant = await createTenant()
    t.match(tenant, { status: 'pending', database_id: null, region: 'local' })
    t.strictSame(await queued(), [`provision-tenant:${tenant.id}`, 'refill-spares'])
    await manager.provisionTenant(tenant.id)
  },
)

t.test('what is no slug is refused, an id too: it would hide the tenant with that id', async (t) => {
  for (const slug of [
    '',
    '-a',
    'a-',
    'A',
    'a b',
    'a'.repeat(64),
    '01a1fc88-1d40-73d4-998d-d2e5efdfe288',
    'ä',
  ]) {
    await t.rejects(createTenant({ slug }), { code: 'validation_failed' }, slug)
  }
})

t.test('a place that is not offered is refused, and no spare is lost', async (t) => {
  const before = await statuses()
  await t.rejects(createTenant({ region: 'moon' }), { code: 'validation_failed' })
  await t.rejects(createTenant({ tier: 'dedicated' }), { code: 'validation_failed' })
  t.strictSame(await statuses(), before)
})

t.test('spares on a draining cluster and of an older schema are not given away', async (t) => {
  await manager.refillSpares()
  const claim = () =>
    master.db.transaction().execute(async (trx) => {
      const row = await manager.claimSpare(trx, { tier: 'shared' })
      await trx
        .updateTable('databases')
        .set({ status: 'spare' })
        .where('status', '=', 'held')
        .where('id', '=', row?.id ?? null)
        .execute()
      return row
    })
  t.ok(await claim())
  await master.db.updateTable('clusters').set({ status: 'draining' }).execute()
  t.equal(await claim(), undefined)
  await master.db.updateTable('clusters').set({ status: 'open' }).execute()
  await master.db
    .updateTable('databases')
    .set({ schema_version: '0000_old' })
    .where('status', '=', 'spare')
    .execute()
  t.equal(await claim(), undefined)
  await manager.refillSpares()
  t.ok(await claim())
})

t.test('20 tenants at once with 3 spares: no database twice, and the worker builds the others', async (t) => {
  await manager.refillSpares()
  const created = await Promise.all(Array.from({ length: 20 }, (_, n) => createTenant({ slug: `many-${n}` })))
  const active = created.filter((tenant) => tenant.status === 'active')
  t.equal(active.length, 3)
  t.equal(new Set(active.map((tenant) => tenant.database_id)).size, 3)
  const worker = await startWorker({
    master,
    manager,
    log: createLogger('silent'),
    accountTasks: noAccountTasks,
  })
  t.ok(worker.ready())
  await until(async () => {
    const { pending } = await master.db
      .selectFrom('tenants')
      .select((eb) => eb.fn.countAll<string>().as('pending'))
      .where('status', '=', 'pending')
      .executeTakeFirstOrThrow()
    return pending === '0' && (await statuses()).spare === 3
  })
  await worker.stop()
  t.notOk(worker.ready())
  const deeds = await master.db
    .selectFrom('tenants')
    .select('database_id')
    .where('slug', 'like', 'many-%')
    .execute()
  t.equal(new Set(deeds.map((deed) => deed.database_id)).size, 20)
  t.notOk(deeds.some((deed) => deed.database_id === null))
  t.strictSame(await manager.inspect(), [])
})

t.test('provisioning a tenant that has its database changes nothing', async (t) => {
  const { id, database_id } = await master.db
    .selectFrom('tenants')
    .selectAll()
    .where('slug', '=', 'many-0')
    .executeTakeFirstOrThrow()
  await manager.provisionTenant(id)
  const after = await master.db
    .selectFrom('tenants')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  t.equal(after.database_id, database_id)
})

t.test('only a database that was given up is erased, with its sessions, roles and row', async (t) => {
  const held = await master.db
    .selectFrom('databases')
    .selectAll()
    .where('status', '=', 'held')
    .executeTakeFirstOrThrow()
  await t.rejects(manager.eraseDatabase(held.id), /is held, so it is not erased/)
  const row = await manager.buildDatabase(landlord.cluster.id)
  const session = await connectTo(t, { ...postgres.superuser, database: row.name })
  t.equal((await session.query('select 1 as one')).rowCount, 1)
  await master.db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', row.id).execute()
  await manager.eraseDatabase(row.id).catch(() => {})
  // A superuser's session is not ours to end.
  await session.end()
  await manager.eraseDatabase(row.id)
  t.equal(await refusalOf({ ...postgres.superuser, database: row.name }), '3D000')
  const admin = await connectTo(t, postgres.superuser)
  t.strictSame(
    (await admin.query('select rolname from pg_roles where rolname like $1', [`${row.name}%`])).rows,
    [],
  )
  t.equal(
    await master.db.selectFrom('databases').selectAll().where('id', '=', row.id).executeTakeFirst(),
    undefined,
  )
  await manager.eraseDatabase(row.id)
})

t.test('a named cluster is kept to, with a spare and without one, and must be there', async (t) => {
  const id = newId()
  const original = await master.db.selectFrom('clusters').selectAll().executeTakeFirstOrThrow()
  // A second cluster at the same address, sealed for its own row: enough to tell whose database it is.
  const provisioner = sealProvisioner(
    landlord.box,
    id,
    openProvisioner(landlord.box, original.id, original.provisioner),
  )
  await master.db
    .insertInto('clusters')
    .values({ ...original, id, name: 'second', provisioner })
    .execute()
  const clusterOf = async (tenantId: string) => {
    const row = await master.db
      .selectFrom('tenants')
      .innerJoin('databases', 'databases.id', 'tenants.database_id')
      .select('databases.cluster_id')
      .where('tenants.id', '=', tenantId)
      .executeTakeFirst()
    return row?.cluster_id
  }
  const pending = await createTenant({ cluster: 'second' })
  t.match(pending, { status: 'pending' }, 'no spare is there yet, and one elsewhere does not count')
  await manager.provisionTenant(pending.id)
  t.equal(await clusterOf(pending.id), id)
  await manager.refillSpares()
  for (const [cluster, expected] of [
    ['second', id],
    ['default', original.id],
  ] as const) {
    const tenant = await createTenant({ cluster })
    t.equal(tenant.status, 'active')
    t.equal(await clusterOf(tenant.id), expected)
  }
  await t.rejects(createTenant({ cluster: 'third' }), { code: 'validation_failed', message: /third/ })
})
