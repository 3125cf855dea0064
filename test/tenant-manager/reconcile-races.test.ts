import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { readMigrationSet } from '../../src/migrator/migration-set.ts'
import type { Context } from '../../src/tenant-manager/context.ts'
import { LiveLocks } from '../../src/tenant-manager/live-locks.ts'
import { Provisioner } from '../../src/tenant-manager/provisioner.ts'
import { repairs } from '../../src/tenant-manager/repairs.ts'
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

t.test(
  'a build that ends while inspect looks is no fault: only what a second look confirms is one',
  async (t) => {
    await manager.refillSpares()
    const row = await manager.buildDatabase(cluster.id)
    const put = (status: 'building' | 'spare') =>
      db.updateTable('databases').set({ status }).where('id', '=', row.id).execute()
    const lock = await otherNode.tryHold(`database:${row.id}`)
    await put('building')
    // Holds inspect up between reading the databases' rows and asking for their locks.
    const brake = await connectTo(t, { ...postgres.superuser, database: 'freehold' })
    await brake.query('begin')
    await brake.query('lock table operations in access exclusive mode')
    const findings = manager.inspect()
    await until(async () => {
      const { rowCount } = await admin.query(
        "select from pg_stat_activity where application_name = 'freehold master' and wait_event_type = 'Lock'",
      )
      return rowCount === 1
    })
    await put('spare')
    await lock?.release()
    await brake.query('commit')
    t.strictSame(await findings, [])
  },
)

t.test('a build that begins to live between look and deed is not given up', async (t) => {
  const row = await manager.buildDatabase(cluster.id)
  await db.updateTable('databases').set({ status: 'building' }).where('id', '=', row.id).execute()
  const lock = await otherNode.tryHold(`database:${row.id}`)
  const mine = new LiveLocks(master, log)
  const context: Context = {
    ...{ master, box, installationId, log, locks: mine, spareDatabases: 1, tenantMaxConnections: 8 },
    provisioner: new Provisioner(),
    templates: new Map(),
    migrations: await readMigrationSet(new URL('../../migrations-tenant', import.meta.url).pathname),
  }
  await repairs.half_built_database?.(context, { databaseId: row.id })
  t.match(await rowOf(row.id), { status: 'building' })
  t.ok(await exists(row.name))
  await lock?.release()
  await repairs.half_built_database?.(context, { databaseId: row.id })
  t.notOk(await exists(row.name))
  await mine.close()
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
