import t from 'tap'
import { findPlacement } from '../../src/master/placement.ts'
import { refusalOf } from '../helpers/postgres.ts'
import { openCrashSite } from './crash.ts'

const { manager, master, box, cluster, createTenant, killAtStatements, nothingIsLeft } =
  await openCrashSite(t)
const { db } = master

t.test('killed anywhere in erasing a database: one pass of the reconciler ends the work', async (t) => {
  await killAtStatements(async () => {
    const { id } = await manager.buildDatabase(cluster.id)
    await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', id).execute()
    return { work: 'erase', id }
  })
  t.strictSame([...new Set((await manager.inspect()).map(({ kind }) => kind))], ['unfinished_erase'])
  await manager.repair()
  await nothingIsLeft(t)
  t.strictSame(await db.selectFrom('databases').selectAll().execute(), [])
})

t.test('killed anywhere in provisioning: every acknowledged tenant gets a database that works', async (t) => {
  await killAtStatements(
    async () => ({ work: 'provision', id: (await createTenant()).id }),
    // The build in between is killed at every statement in a test of its own.
    (statement, total) => statement <= 8 || statement > total - 12,
  )
  await manager.repair()
  for (const { id } of await db
    .selectFrom('tenants')
    .select('id')
    .where('status', '=', 'pending')
    .execute()) {
    await manager.provisionTenant(id)
  }
  await nothingIsLeft(t)
  const tenants = await db.selectFrom('tenants').select(['id', 'status']).execute()
  t.ok(tenants.length > 4)
  for (const { id } of tenants) {
    const placement = await findPlacement(master, box)(id)
    if (placement?.status !== 'active') throw new Error('the tenant has no placement')
    t.equal(await refusalOf(placement.address, 'select from projects'), undefined)
  }
})
