/**
 * What does it cost that a job's effect happens exactly once, in its tenant's own database? Jobs a second of one Freehold worker
 * against bare graphile-worker with as many slots, in turn on one server. Both write one row a job; graphile-worker's row and
 * its job's end are two transactions, so a kill between them doubles the row.
 * Usage: node bench/jobs.ts [jobs] [rounds]
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { PostgresAddress } from '../src/kernel/postgres-address.ts'
import type { Service } from '../src/service.ts'
import { forkApart } from '../test/helpers/apart.ts'
import { putJobs } from '../test/tenant/jobs/counting.ts'
import { countsGiven } from './lib/command-line.ts'
import { makeJobTenants, onJobServer } from './lib/job-tenants.ts'
import { median } from './lib/pair.ts'
import { machineLine, table } from './lib/report.ts'

const { jobs, rounds } = countsGiven({ jobs: 5_000, rounds: 3 })
const concurrency = 10

/** Starts a program, waits until `left` is none, and answers the seconds that took. */
const drain = async (program: URL, order: object, left: () => Promise<number>): Promise<number> => {
  const child = forkApart(program)
  child.send(order)
  await once(child, 'message')
  const [began, atFirst] = [performance.now(), await left()]
  while ((await left()) > 0) await sleep(20)
  const seconds = (performance.now() - began) / 1_000
  child.kill('SIGKILL')
  await once(child, 'exit')
  return seconds / atFirst
}

/** Jobs a second of bare graphile-worker. */
const bare = async ({ master }: Service, address: PostgresAddress): Promise<number> => {
  const { db } = master
  await sql`create table if not exists bench_effects (job_id bigint not null)`.execute(db)
  await sql`select count(graphile_worker.add_job('count', json_build_object('n', n))) from generate_series(1, ${jobs}::int) n`.execute(
    db,
  )
  const left = async () =>
    (
      await sql<{ n: number }>`
      select count(*)::int as n from graphile_worker._private_jobs jobs
        join graphile_worker._private_tasks tasks on tasks.id = jobs.task_id where tasks.identifier = 'count'`.execute(
        db,
      )
    ).rows[0]?.n ?? 0
  return (
    1 /
    (await drain(
      new URL('servers/graphile-jobs.ts', import.meta.url),
      { master: address, concurrency },
      left,
    ))
  )
}

/** Jobs a second of one Freehold worker, over these tenants. */
const freehold = async (service: Service, order: object, tenantIds: readonly string[]): Promise<number> => {
  const each = Math.ceil(jobs / tenantIds.length)
  for (const id of tenantIds) {
    for (let put = 0; put < each; put += 500) {
      await putJobs(
        service,
        id,
        Array.from({ length: Math.min(500, each - put) }, () => ({ type: 'count' })),
      )
    }
  }
  const inOne = (id: string): Promise<number> =>
    service.router.use(id, async (db) => {
      const row = await db
        .selectFrom('jobs')
        .select(sql<number>`count(*)::int`.as('n'))
        .where('status', 'in', ['queued', 'running'])
        .executeTakeFirstOrThrow()
      return row.n
    })
  const left = async () => (await Promise.all(tenantIds.map(inOne))).reduce((all, n) => all + n, 0)
  return 1 / (await drain(new URL('../test/tenant/jobs/worker-process.ts', import.meta.url), order, left))
}

await onJobServer(async ({ service, postgres, order }) => {
  const tenantIds = await makeJobTenants(service, postgres.superuser, 20)
  const contests = [
    { name: 'graphile-worker, bare', run: () => bare(service, postgres.master) },
    {
      name: 'Freehold, 1 tenant',
      run: () => freehold(service, order, tenantIds.slice(0, 1)),
    },
    { name: 'Freehold, 20 tenants', run: () => freehold(service, order, tenantIds) },
  ]
  const seen = new Map<string, number[]>(contests.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, run } of contests) seen.get(name)?.push(await run())
  }
  const [first] = contests
  const ceiling = median(seen.get(first?.name ?? '') ?? [])
  console.log(machineLine(postgres.version))
  console.log(
    table(
      ['', 'jobs/s', 'ratio'],
      contests.map(({ name }) => {
        const rate = median(seen.get(name) ?? [])
        return [name, rate.toFixed(0), (rate / ceiling).toFixed(2)]
      }),
    ),
  )
})
