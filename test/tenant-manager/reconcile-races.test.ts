import t, { type Test } from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { readMigrationSet } from '../../src/migrator/migration-set.ts'
import { buildDatabase } from '../../src/tenant-manager/build-database.ts'
import type { Context } from '../../src/tenant-manager/context.ts'
import { LiveLocks } from '../../src/tenant-manager/live-locks.ts'
import { Provisioner } from '../../src/tenant-manager/provisioner.ts'
import { repairs } from '../../src/tenant-manager/repairs.ts'
import { ensureTemplate } from '../../src/tenant-manager/template.ts'
import { connectTo } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'
import { openPlantation } from './plantation.ts'

const plantation = await openPlantation(t)
const { postgres, admin, db, master, box, installationId, manager, cluster, exists, rowOf } = plantation
const log = createLogger('silent')

/** Another node's locks. */
const otherNode = new LiveLocks(master, log)
t.teardown(() => otherNode.close())

/** A node's own context, to call a repair without the look before it. */
const openContext = async (t: Test): Promise<Context> => {
  const locks = new LiveLocks(master, log)
  t.teardown(() => locks.close())
  return {
    ...{ master, box, installationId, log, locks, spareDatabases: 1, tenantMaxConnections: 8 },
    auditArchiveDays: 0,
    provisioner: new Provisioner(),
    templates: new Map(),
    migrations: await readMigrationSet(new URL('../../migrations-tenant', import.meta.url).pathname),
  }
}

/** Stops whoever next reads or writes the journal, until released. */
const brakeOn = async (t: Test) => {
  const brake = await connectTo(t, { ...postgres.superuser, database: 'freehold' })
  await brake.query('begin')
  await brake.query('lock table operations in access exclusive mode')
  const waiting =
    "select from pg_stat_activity where application_name = 'freehold master' and wait_event_type = 'Lock'"
  return {
    somebodyWaits: () => until(async () => (await admin.query(waiting)).rowCount === 1),
    release: () => brake.query('commit'),
  }
}

const putStatus = (id: string, status: 'building' | 'spare' | 'erasing') =>
  db.updateTable('databases').set({ status }).where('id', '=', id).execute()

t.test(
  'a build that ends while inspect looks is no fault: only what a second look confirms is one',
  async (t) => {
    await manager.refillSpares()
    const row = await manager.buildDatabase(cluster.id)
    const lock = await otherNode.tryHold(`database:${row.id}`)
    await putStatus(row.id, 'building')
    // Between reading the databases' rows and asking for their locks.
    const brake = await brakeOn(t)
    const findings = manager.inspect()
    await brake.somebodyWaits()
    await putStatus(row.id, 'spare')
    await lock?.release()
    await brake.release()
    t.strictSame(await findings, [])
  },
)

t.test('a build that begins to live between look and deed is not given up', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await putStatus(row.id, 'building')
  const lock = await otherNode.tryHold(`database:${row.id}`)
  const context = await openContext(t)
  await repairs.half_built_database?.(context, { databaseId: row.id })
  t.match(await rowOf(row.id), { status: 'building' })
  t.ok(await exists(row.name))
  await lock?.release()
  await repairs.half_built_database?.(context, { databaseId: row.id })
  t.notOk(await exists(row.name))
})

t.test('a build that was taken for dead does not become a spare, and leaves nothing', async (t) => {
  const before = await db.selectFrom('databases').select('id').orderBy('id').execute()
  const context = await openContext(t)
  const stop = Promise.withResolvers<void>()
  const stopped = Promise.withResolvers<void>()
  const { provisioner } = context
  const use = provisioner.use.bind(provisioner)
  provisioner.use = async (cluster, work, database) => {
    if (database !== undefined) {
      stopped.resolve()
      await stop.promise
    }
    return use(cluster, work, database)
  }
  await ensureTemplate(context, cluster)
  const building = buildDatabase(context, cluster)
  building.catch(() => {})
  // Before its last step, inside the new database.
  await stopped.promise
  await db.updateTable('databases').set({ status: 'erasing' }).where('status', '=', 'building').execute()
  stop.resolve()
  await t.rejects(building, /was erased while it was built/)
  t.strictSame(await db.selectFrom('databases').select('id').orderBy('id').execute(), before)
  t.strictSame(await manager.inspect(), [])
})

t.test('a repair looks again whose database it is', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  const comment = `comment on role ${row.name}_owner is`
  await admin.query(`${comment} 'freehold ${newId()}'`)
  await admin.query(`grant connect on database ${row.name} to public`)
  await admin.query(`alter role ${row.name} nologin`)
  const context = await openContext(t)
  const target = { clusterId: cluster.id, databaseId: row.id, name: row.name }
  await repairs.open_to_others?.(context, target)
  await repairs.role_changed?.(context, target)
  await admin.query(`${comment} 'freehold ${installationId}'`)
  t.strictSame((await manager.inspect()).map(({ kind }) => kind).sort(), ['open_to_others', 'role_changed'])
  await manager.repair()
  t.strictSame(await manager.inspect(), [])
})

t.test('work under way is no fault: builds, claims and erasures beside inspect and repair', async (t) => {
  const other = await startLandlord(t, postgres, { install: false, spareDatabases: 1 })
  let working = true
  const work = async (): Promise<void> => {
    for (let n = 0; n < 12; n += 1) {
      const { id } = await other.manager.buildDatabase(cluster.id)
      if (n % 2 === 0) await other.createTenant()
      else {
        const spare = db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', id)
        await spare.where('status', '=', 'spare').execute()
        await other.manager.eraseDatabase(id).catch(() => {})
      }
    }
  }
  const look = async (): Promise<void> => {
    while (working) {
      const problems = (await manager.inspect()).filter(({ severity }) => severity === 'problem')
      // Between giving up and erasing nobody holds the lock, here as after a crash.
      const real = problems.filter(({ kind }) => kind !== 'unfinished_erase')
      if (real.length > 0) throw new Error(JSON.stringify(real))
      await manager.repair()
    }
  }
  const looking = look()
  await Promise.all([work(), work()])
  working = false
  await looking
  await manager.repair()
  await manager.refillSpares()
  t.strictSame(await manager.inspect(), [])
})
