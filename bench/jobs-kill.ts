/**
 * Do jobs survive their workers? 20,000 jobs over 50 tenants on two workers, one of which is killed with SIGKILL every two
 * seconds and followed by a new one. Every job must succeed, have its effect and its audit entry once, and be taken from a
 * killed worker within 30 s. Ends with 1 otherwise.
 * Usage: node bench/jobs-kill.ts [jobs] [tenants]
 */
import { availableParallelism } from 'node:os'
import { sql } from 'kysely'
import { killRun } from '../test/tenant/jobs/kill-run.ts'
import { countsGiven } from './lib/command-line.ts'
import { makeJobTenants, onJobServer } from './lib/job-tenants.ts'

const { jobs, tenants } = countsGiven({ jobs: 20_000, tenants: 50 })

await onJobServer(async ({ service, postgres, order }) => {
  console.log(`${jobs} jobs, ${tenants} tenants, ${availableParallelism()} cores`)
  const tenantIds = await makeJobTenants(service, postgres.superuser, tenants)
  const report = await killRun({
    ...{ service, order, tenantIds, jobs },
    ...{ slowEvery: 50, workers: 2, killEveryMs: 2_000, kills: Number.POSITIVE_INFINITY },
    onProgress: (succeeded, kills) => console.log(`${succeeded} of ${jobs}, ${kills} kills`),
  })
  console.log(JSON.stringify(report, undefined, 2))
  const { rows } = await sql`select from graphile_worker.jobs where last_error is not null`.execute(
    service.master.db,
  )
  const { notSucceeded, faulty, slowestRescueMs } = report
  if (notSucceeded > 0 || faulty > 0 || slowestRescueMs > 30_000 || rows.length > 0) process.exitCode = 1
})
