import type { Logger } from './kernel/log.ts'
import type { Master } from './master/master.ts'
import { enqueue } from './queue/enqueue.ts'
import { lockingWorkers, unlockWorkers } from './queue/locked-workers.ts'
import { runTasks } from './queue/run-tasks.ts'
import type { TaskHandlers } from './queue/tasks.ts'
import type { TenantWakeUps } from './queue/tenant-wakeups.ts'
import type { JobRunner } from './tenant/jobs/looks.ts'
import type { HeldLock } from './tenant-manager/live-locks.ts'
import type { TenantManager } from './tenant-manager/tenant-manager.ts'

/** What a worker needs of the service. */
export type WorkerDeps = {
  master: Master
  manager: TenantManager
  log: Logger
  /** What the worker does for accounts; built by the service, which has the keys for it. */
  accountTasks: AccountTasks
  /** What runs tenants' jobs; without it they wait for another worker. */
  jobRunner?: JobRunner
  wakeUps?: Pick<TenantWakeUps, 'queueDue'>
  /** Days after which entries of audit logs are removed; undefined: never. */
  auditRetentionDays?: number | undefined
  /** Milliseconds between looks for killed workers. */
  livenessInterval?: number
}

export type AccountTasks = Pick<TaskHandlers, 'send-mail' | 'account-request' | 'tidy-access' | 'end-plans'>

export type Worker = {
  /** True while it takes jobs. */
  ready(): boolean
  /** Takes no new jobs, and resolves when the running ones have ended. Safe twice. */
  stop(): Promise<void>
}

/** Jobs at once in one process; provisioning waits on Postgres, not on us. */
const concurrency = 4

/** Tenants whose jobs run at once in one process, apart from the installation's own work, which they must not hold up. */
const tenantsAtOnce = 10

/** Milliseconds between looks for tenants whose time has come. */
const wakeUpInterval = 1_000

/** Milliseconds between looks for audit logs that are to be sealed. */
const sealInterval = 1_000

/** Longest time until another worker takes over the jobs of a killed one; by itself graphile-worker waits four hours. */
const defaultLivenessInterval = 10_000

const workerLock = (workerId: string): string => `worker:${workerId}`

/** Every task of the installation itself. */
const taskHandlers = ({
  manager,
  log,
  accountTasks,
  auditRetentionDays,
}: WorkerDeps): Omit<TaskHandlers, 'run-tenant-jobs'> => ({
  ...accountTasks,
  'refill-spares': () => manager.refillSpares(),
  'provision-tenant': ({ tenantId }) => manager.provisionTenant(tenantId),
  'erase-database': ({ databaseId }) => manager.eraseDatabase(databaseId),
  'tenant-outbox': ({ tenantId }) => manager.deliverOutbox(tenantId),
  'purge-tenants': () => manager.purgeTenants(),
  'prune-audit': async () => {
    if (auditRetentionDays !== undefined) await manager.pruneAuditLogs(auditRetentionDays)
  },
  'measure-storage': () => manager.measureStorage(),
  'migrate-databases': async () => {
    await manager.migrateDatabases()
  },
  reconcile: async () => {
    await manager.askRolls()
    const { repaired, remaining } = await manager.repair()
    for (const { kind, subject, message } of repaired) log.info({ kind, subject }, `repaired: ${message}`)
    for (const { kind, subject, severity, message } of remaining) {
      log[severity === 'problem' ? 'warn' : 'info']({ kind, subject }, message)
    }
  },
})

/** Gives the jobs of killed workers back to the queue. The lock of a live worker is in place before its first job. */
const unlockDeadWorkers = async ({ master, manager, log }: WorkerDeps): Promise<void> => {
  const ids = await lockingWorkers(master.db)
  const alive = await manager.locks.whichHeld(ids.map(workerLock))
  const dead = ids.filter((id) => !alive.has(workerLock(id)))
  if (dead.length === 0) return
  await unlockWorkers(master.db, dead)
  log.warn({ workers: dead.length }, 'the jobs of killed workers were given back to the queue')
}

/** Keeps the locks that prove this process' job runners alive, also over a lost connection. */
const createLiveness = ({ manager, log }: WorkerDeps) => {
  const runners = new Map<string, HeldLock | undefined>()
  const holdMissing = async (): Promise<void> => {
    for (const [id, lock] of runners) {
      if (lock?.lost === false) continue
      const held = await manager.locks.tryHold(workerLock(id))
      if (held === undefined) log.warn('the lock that proves this worker alive is not free yet')
      else if (runners.has(id)) runners.set(id, held)
      else await held.release()
    }
  }
  /** One look at a time: a runner's slots begin together, and the watch goes on beside them. */
  let last: Promise<unknown> = Promise.resolve()
  const hold = (): Promise<void> => {
    const held = last.then(holdMissing)
    last = held.catch(() => {})
    return held
  }
  return {
    hold,
    /** Called by each of a runner's slots, before its first job. */
    begin: (id: string): Promise<void> => {
      if (!runners.has(id)) runners.set(id, undefined)
      return hold()
    },
    /** From now on jobs that are still locked under the id are free for others. */
    end: async (id: string): Promise<void> => {
      const lock = runners.get(id)
      runners.delete(id)
      await lock?.release()
    },
  }
}

/** Calls `work` again and again until stopped; `stop` waits for a call under way. `what` says in the log what failed. */
const every = (
  milliseconds: number,
  work: () => Promise<void>,
  log: Logger,
  what: string,
): (() => Promise<void>) => {
  let stopped = false
  let running = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  const next = (): void => {
    timer = setTimeout(() => {
      running = work()
        .catch((error: unknown) => log.warn({ err: error }, `${what} failed`))
        .then(() => (stopped ? undefined : next()))
    }, milliseconds)
  }
  next()
  return async () => {
    stopped = true
    clearTimeout(timer)
    await running
  }
}

type Part = { ready(): boolean; stop(): Promise<void> }

/** Runs tenants' jobs, in slots of their own. */
const startTenantJobs = async (
  deps: WorkerDeps,
  jobRunner: JobRunner,
  liveness: ReturnType<typeof createLiveness>,
): Promise<Part> => {
  const tasks = await runTasks({
    pool: deps.master.pool,
    log: deps.log,
    handlers: { 'run-tenant-jobs': ({ tenantId }) => jobRunner.look(tenantId) },
    cron: false,
    concurrency: tenantsAtOnce,
    beforeFirstJob: liveness.begin,
    afterLastJob: liveness.end,
  })
  const wake = async (): Promise<void> => deps.wakeUps?.queueDue()
  const stopWaking = every(wakeUpInterval, wake, deps.log, "the look for tenants' jobs")
  return {
    ready: () => tasks.ready(),
    stop: async () => {
      await Promise.all([tasks.stop(), stopWaking()])
    },
  }
}

/** What every start does first: find what a crash left, and build the spares that are missing. */
const enqueueStartWork = async ({ master }: WorkerDeps): Promise<void> => {
  await enqueue(master.db, 'reconcile', {}, { jobKey: 'reconcile', queue: 'reconcile' })
  await enqueue(master.db, 'refill-spares', {}, { jobKey: 'refill-spares', queue: 'refill-spares' })
}

/** Starts working on the queue. Resolves when the jobs of killed workers are free again and the first look is queued. */
export const startWorker = async (deps: WorkerDeps): Promise<Worker> => {
  const liveness = createLiveness(deps)
  await unlockDeadWorkers(deps)
  const tasks = await runTasks({
    pool: deps.master.pool,
    log: deps.log,
    handlers: taskHandlers(deps),
    cron: true,
    concurrency,
    beforeFirstJob: liveness.begin,
    afterLastJob: liveness.end,
  })
  const watch = async (): Promise<void> => {
    await liveness.hold()
    await unlockDeadWorkers(deps)
  }
  const stopWatching = every(
    deps.livenessInterval ?? defaultLivenessInterval,
    watch,
    deps.log,
    'the look for killed workers',
  )
  const stopSealing = every(sealInterval, deps.manager.sealAuditLogs, deps.log, 'the sealing of audit logs')
  let tenantJobs: Part | undefined
  const stop = async (): Promise<void> => {
    await Promise.all([tasks.stop(), tenantJobs?.stop(), stopWatching(), stopSealing()])
    await deps.manager.stopSealing()
  }
  let stopping: Promise<void> | undefined
  const worker: Worker = {
    ready: () => tasks.ready() && tenantJobs?.ready() !== false,
    stop: () => {
      stopping ??= stop()
      return stopping
    },
  }
  try {
    if (deps.jobRunner !== undefined) tenantJobs = await startTenantJobs(deps, deps.jobRunner, liveness)
    await enqueueStartWork(deps)
  } catch (error) {
    await worker.stop()
    throw error
  }
  return worker
}
