/**
 * How long does one job wait while another tenant has 100,000? One worker, a tenant whose jobs keep all of its slots busy, and
 * single jobs of other tenants, one after the other. The clock is the database's: from the transaction that put a job in to the
 * claim that started it. Promised: each starts within 2 s.
 * Usage: node bench/jobs-noisy.ts [jobs] [singles] [--write]
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Service } from '../src/service.ts'
import type { TenantTables } from '../src/tenant/tables.ts'
import { forkApart } from '../test/helpers/apart.ts'
import { putJobs } from '../test/tenant/jobs/counting.ts'
import { countsGiven } from './lib/command-line.ts'
import { makeJobTenants, onJobServer } from './lib/job-tenants.ts'
import { median } from './lib/pair.ts'
import { machineLine, report, table } from './lib/report.ts'

const { jobs, singles, write } = countsGiven({ jobs: 100_000, singles: 50 }, { write: true })
const quietTenants = 10
const mostMs = 2_000

const succeeded = async (db: Kysely<TenantTables>): Promise<number> =>
  (
    await db
      .selectFrom('jobs')
      .select(sql<number>`count(*)::int`.as('n'))
      .where('status', '=', 'succeeded')
      .executeTakeFirstOrThrow()
  ).n

const fill = async (service: Service, tenantId: string): Promise<void> => {
  await service.router.use(tenantId, (db) =>
    sql`insert into jobs (id, type, payload, max_attempts, idempotency_key, body_hash)
        select gen_random_uuid(), 'count', '{}', 5, 'n' || n, '' from generate_series(1, ${jobs}::int) n`.execute(
      db,
    ),
  )
  await service.wakeUps.now(tenantId)
}

/** Puts one job in and answers the milliseconds until it was started. */
const wait = async (service: Service, tenantId: string): Promise<number> => {
  const [id = ''] = await putJobs(service, tenantId, [{ type: 'count' }])
  for (;;) {
    const ms = await service.router.use(tenantId, (db) =>
      db
        .selectFrom('jobs')
        .select(sql<number | null>`extract(epoch from started_at - created_at)::float8 * 1000`.as('ms'))
        .where('id', '=', id)
        .executeTakeFirst(),
    )
    if (ms?.ms != null) return ms.ms
    await sleep(20)
  }
}

await onJobServer(async ({ service, postgres, order }) => {
  const [noisy = '', ...quiet] = await makeJobTenants(service, postgres.superuser, quietTenants + 1)
  await fill(service, noisy)
  const done = (): Promise<number> => service.router.use(noisy, succeeded)
  const worker = forkApart(new URL('../test/tenant/jobs/worker-process.ts', import.meta.url))
  worker.send(order)
  await once(worker, 'message')
  while ((await done()) === 0) await sleep(20)
  const [began, atFirst] = [performance.now(), await done()]
  const waits: number[] = []
  for (let n = 0; n < singles; n += 1) waits.push(await wait(service, quiet[n % quiet.length] ?? ''))
  const rate = ((await done()) - atFirst) / ((performance.now() - began) / 1_000)
  const left = jobs - (await done())
  worker.kill('SIGKILL')
  const slowest = Math.max(...waits)
  await report({
    name: 'jobs-noisy',
    text: `${machineLine(postgres.version)}\n\n${table(
      ['single jobs beside a noisy tenant', 'seen'],
      [
        ['jobs of the noisy tenant still queued at the end', String(left)],
        ['its jobs a second meanwhile', rate.toFixed(0)],
        ['single jobs of other tenants', String(singles)],
        ['milliseconds until one starts, median', median(waits).toFixed(0)],
        ['milliseconds until one starts, slowest', slowest.toFixed(0)],
      ],
    )}`,
    promises: [
      { what: 'milliseconds until the slowest started', seen: slowest, most: mostMs },
      { what: 'jobs of the noisy tenant left at the end', seen: left, least: 1 },
    ],
    failures: [],
    write,
  })
})
