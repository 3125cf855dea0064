import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Service } from '../../../src/service.ts'
import { forkApart } from '../../helpers/apart.ts'
import { putJobs, type WorkerOrder } from './counting.ts'

const program = new URL('worker-process.ts', import.meta.url)

type WorkerProcess = { child: ChildProcess; nodeId: string }

const startProcess = async (order: WorkerOrder): Promise<WorkerProcess> => {
  const child = forkApart(program)
  child.send(order)
  const [first] = await Promise.race([
    once(child, 'message') as Promise<[{ nodeId: string }]>,
    once(child, 'exit').then(([code]) => {
      throw new Error(`a worker ended with ${String(code)} before it was ready`)
    }),
  ])
  return { child, nodeId: first.nodeId }
}

const kill = async ({ child }: WorkerProcess): Promise<void> => {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

export type KillRun = Readonly<{
  service: Service
  order: WorkerOrder
  tenantIds: readonly string[]
  jobs: number
  /** One of so many jobs takes a fifth of a second, so that kills meet it in the middle of its transaction. */
  slowEvery: number
  workers: number
  killEveryMs: number
  /** No more kills than that. */
  kills: number
  onProgress?: (succeeded: number, kills: number) => void
}>

export type KillReport = Readonly<{
  kills: number
  /** Jobs that ran in a worker when it was killed. */
  orphans: number
  /** Milliseconds from a kill until the last job of that worker was taken from it. */
  slowestRescueMs: number
  succeeded: number
  notSucceeded: number
  /** Succeeded jobs without their effect, or with more than one of it, or with another number of audit entries than one. */
  faulty: number
  seconds: number
}>

const perTransaction = 100

/** Puts the same number of jobs into each tenant, in several transactions. */
const fill = async (run: KillRun): Promise<void> => {
  const { service, tenantIds, jobs } = run
  const each = Math.ceil(jobs / tenantIds.length)
  for (let put = 0; put < each; put += perTransaction) {
    const batch = Array.from({ length: Math.min(perTransaction, each - put) }, (_, n) => ({
      type: 'count',
      payload: n % run.slowEvery === 0 ? { seconds: 0.2 } : {},
    }))
    for (const tenantId of tenantIds) await putJobs(service, tenantId, batch)
  }
}

type Counts = { succeeded: number; others: number; faulty: number }

const countIn = async (service: Service, tenantId: string): Promise<Counts> => {
  const { rows } = await service.router.use(tenantId, (db) =>
    sql<Counts>`
      with effect as (select job_id, count(*) as n from effects group by job_id),
           entry as (select entity_id, count(*) as n from audit_log where action = 'job.succeeded' group by entity_id)
      select count(*) filter (where status = 'succeeded')::int as succeeded,
             count(*) filter (where status <> 'succeeded')::int as others,
             count(*) filter (where (status = 'succeeded') <> (effect.n is not distinct from 1)
                                 or (status = 'succeeded') <> (entry.n is not distinct from 1))::int as faulty
        from jobs left join effect on effect.job_id = jobs.id left join entry on entry.entity_id = jobs.id`.execute(
      db,
    ),
  )
  return rows[0] ?? { succeeded: 0, others: 0, faulty: 0 }
}

const sum = async ({ service, tenantIds }: KillRun): Promise<Counts> => {
  const total = { succeeded: 0, others: 0, faulty: 0 }
  for (const tenantId of tenantIds) {
    const { succeeded, others, faulty } = await countIn(service, tenantId)
    total.succeeded += succeeded
    total.others += others
    total.faulty += faulty
  }
  return total
}

/** The jobs that this worker runs, over all tenants. */
const runningOf = async (
  run: KillRun,
  nodeId: string,
  tenantIds = run.tenantIds,
): Promise<Map<string, number>> => {
  const found = new Map<string, number>()
  for (const tenantId of tenantIds) {
    const rows = await run.service.router.use(tenantId, (db) =>
      db
        .selectFrom('jobs')
        .select('id')
        .where('status', '=', 'running')
        .where('worker_id', '=', nodeId)
        .execute(),
    )
    if (rows.length > 0) found.set(tenantId, rows.length)
  }
  return found
}

/** Waits until nothing is left to the dead worker. Answers how many jobs it had, and how long that took. */
const watchRescue = async (run: KillRun, nodeId: string): Promise<{ orphans: number; ms: number }> => {
  const began = performance.now()
  let left = await runningOf(run, nodeId)
  const orphans = [...left.values()].reduce((all, n) => all + n, 0)
  while (left.size > 0) {
    await sleep(250)
    left = await runningOf(run, nodeId, [...left.keys()])
  }
  return { orphans, ms: orphans === 0 ? 0 : performance.now() - began }
}

/** Workers that are killed one after the other, each followed by a new one, until every job has ended. */
export const killRun = async (run: KillRun): Promise<KillReport> => {
  const began = performance.now()
  // While the workers run, as in life.
  let filling = true
  const filled = fill(run).finally(() => {
    filling = false
  })
  const workers = await Promise.all(Array.from({ length: run.workers }, () => startProcess(run.order)))
  const rescues: Promise<{ orphans: number; ms: number }>[] = []
  let done = false
  const killer = async (): Promise<void> => {
    for (let n = 0; n < run.kills; n += 1) {
      await sleep(run.killEveryMs)
      if (done) return
      const victim = workers.shift()
      if (victim === undefined) return
      // It shall have something to lose.
      while (!done && (await runningOf(run, victim.nodeId)).size === 0) await sleep(20)
      await kill(victim)
      rescues.push(watchRescue(run, victim.nodeId))
      workers.push(await startProcess(run.order))
    }
  }
  const killing = killer()
  try {
    for (let counts = await sum(run); filling || counts.others > 0; counts = await sum(run)) {
      run.onProgress?.(counts.succeeded, rescues.length)
      await sleep(500)
    }
  } finally {
    done = true
    await Promise.all([killing, filled])
  }
  const seconds = (performance.now() - began) / 1_000
  const rescued = await Promise.all(rescues)
  for (const worker of workers) await kill(worker)
  const { succeeded, others, faulty } = await sum(run)
  return {
    kills: rescued.length,
    orphans: rescued.reduce((all, { orphans }) => all + orphans, 0),
    slowestRescueMs: Math.max(0, ...rescued.map(({ ms }) => ms)),
    ...{ succeeded, notSucceeded: others, faulty, seconds },
  }
}
