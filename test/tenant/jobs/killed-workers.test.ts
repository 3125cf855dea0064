import t from 'tap'
import { startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { effectsTable } from './counting.ts'
import { killRun } from './kill-run.ts'

const postgres = await startTestPostgres(t, 'furnished')
const freehold = await startNode(t, postgres, { SPARE_DATABASES: '0' })
const { service } = freehold

t.test('workers are killed again and again: every job succeeds, and its effect is there once', async (t) => {
  const tenantIds: string[] = []
  for (let n = 0; n < 2; n += 1) {
    const { tenantId } = await freehold.newTenant()
    await freehold.asSuperuser(tenantId, effectsTable)
    tenantIds.push(tenantId)
  }
  const { master, provisioner } = postgres
  const report = await killRun({
    ...{ service, order: { master, provisioner, patience: { heartbeatMs: 300, staleMs: 1_500 } }, tenantIds },
    ...{ jobs: 300, slowEvery: 4, workers: 2, killEveryMs: 500, kills: 2 },
  })
  t.comment(JSON.stringify(report))
  t.match(report, { succeeded: 300, notSucceeded: 0, faulty: 0 })
  t.ok(report.orphans > 0, `kills met ${report.orphans} jobs in the middle`)
  t.ok(report.slowestRescueMs < 30_000, `each rescued within 30 s: ${report.slowestRescueMs} ms`)
})
