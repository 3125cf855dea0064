import t from 'tap'
import { openCrashSite } from './crash.ts'

const { manager, master, createTenant, killAtStatements, nothingIsLeft } = await openCrashSite(t)
const { db } = master

t.test(
  'killed anywhere in purging a tenant: the next pass ends it, and the certificate says so',
  async (t) => {
    const doomed: string[] = []
    await killAtStatements(async () => {
      const { id } = await createTenant()
      await manager.provisionTenant(id)
      const now = new Date()
      const values = { status: 'deleted', restore_to: 'active', deleted_at: now, purge_after: now } as const
      await db.updateTable('tenants').set(values).where('id', '=', id).execute()
      doomed.push(id)
      return { work: 'purge' }
    })
    await manager.repair()
    await manager.purgeTenants()
    await manager.repair()
    t.strictSame(await db.selectFrom('tenants').select('id').where('id', 'in', doomed).execute(), [])
    const certificates = await db.selectFrom('erasures').selectAll().execute()
    t.strictSame(certificates.map(({ tenant_id }) => tenant_id).sort(), doomed.sort())
    t.ok(
      certificates.every(({ finished_at, database_name }) => finished_at !== null && database_name !== null),
    )
    t.strictSame(await db.selectFrom('databases').select('id').where('status', '<>', 'spare').execute(), [])
    await nothingIsLeft(t)
  },
)
