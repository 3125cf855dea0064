import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { writeMasterAudit } from '../../src/master/audit-log.ts'
import { databaseOf } from '../helpers/tenant-manager.ts'
import { openCrashSite } from './crash.ts'

const { manager, master, personId, createTenant, killAtStatements, postgres } = await openCrashSite(t)
const { db } = master

t.test('killed anywhere in telling a tenant: it is told later, everything once', async (t) => {
  const { id: tenantId } = await createTenant()
  await manager.provisionTenant(tenantId)
  const actions: string[] = []
  await killAtStatements(async () => {
    for (let n = 0; n < 3; n += 1) {
      const action = `test.${newId()}`
      actions.push(action)
      await db.transaction().execute((trx) =>
        writeMasterAudit(trx, {
          ...{ actor: { kind: 'person', id: personId }, action, tenantId },
          entity: { type: 'test', id: tenantId },
        }),
      )
    }
    return { work: 'tell', id: tenantId }
  })
  await manager.deliverOutbox(tenantId)
  const inside = await databaseOf(t, { db, superuser: postgres.superuser }, tenantId)
  const { rows } = await inside.query("select action from audit_log where action like 'test.%'")
  t.strictSame(rows.map(({ action }) => action).sort(), actions.sort())
  t.strictSame(await db.selectFrom('tenant_outbox').selectAll().execute(), [])
})
