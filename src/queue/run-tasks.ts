import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  parseCronItems,
  type Runner,
  type RunnerOptions,
  run,
  type TaskList,
  type WorkerEvents,
} from 'graphile-worker'
import type { Logger } from '../kernel/log.ts'
import { graphileLog } from './graphile-log.ts'
import { sparingPool } from './sparing-pool.ts'
import type { TaskHandlers } from './tasks.ts'

/** The pool graphile-worker borrows connections from. It and each client must have an `error` handler. */
export type QueuePool = NonNullable<RunnerOptions['pgPool']>

export type RunTasksOptions = {
  pool: QueuePool
  log: Logger
  /** Only tasks named here are taken. */
  handlers: Partial<TaskHandlers>
  /** Whether the tasks that come by the clock are put in. */
  cron: boolean
  /** Jobs at once in this process. */
  concurrency: number
  /** Called, and waited for, before the first job is taken: the id under which jobs will be locked from now on. */
  beforeFirstJob: (workerId: string) => Promise<void>
  /** Called when no job is taken or run under that id any more. */
  afterLastJob: (workerId: string) => Promise<void>
}

export type RunningTasks = {
  /** True while jobs are taken. */
  ready(): boolean
  /** Takes no new jobs, and resolves when the running ones have ended. Safe twice. */
  stop(): Promise<void>
}

/** When, on one node of all. Nothing is made up for times at which no worker ran: a pass looks at everything. */
const choresByClock = [
  { task: 'reconcile', match: '* * * * *', options: { jobKey: 'reconcile', queueName: 'reconcile' } },
  {
    task: 'purge-tenants',
    match: '* * * * *',
    options: { jobKey: 'purge-tenants', queueName: 'purge-tenants' },
  },
  { task: 'end-plans', match: '* * * * *', options: { jobKey: 'end-plans', queueName: 'end-plans' } },
  {
    task: 'measure-storage',
    match: '*/5 * * * *',
    options: { jobKey: 'measure-storage', queueName: 'measure-storage' },
  },
  { task: 'prune-audit', match: '41 3 * * *', options: { jobKey: 'prune-audit', queueName: 'prune-audit' } },
  { task: 'tidy-access', match: '17 * * * *', options: { jobKey: 'tidy-access', queueName: 'tidy-access' } },
]

/** Pause before the next try when the master was lost. */
const restartDelay = 1_000

type Launched = {
  stop(): Promise<void>
  /** Resolves when it takes no more jobs, asked to or not. */
  gaveUp: Promise<void>
  /** Resolves when the last of its jobs has ended. */
  ended: Promise<void>
}

/** Installs no signal handlers: whoever started it decides when it ends. */
const startRunner = (
  options: RunTasksOptions,
  pool: QueuePool,
  events: WorkerEvents,
  onWorker: (id: string) => Promise<void>,
): Promise<Runner> =>
  run({
    pgPool: pool,
    concurrency: options.concurrency,
    noHandleSignals: true,
    logger: graphileLog(options.log),
    events,
    // Waiting jobs are announced by NOTIFY; polling only finds those that become due by time.
    pollInterval: 2_000,
    parsedCronItems: options.cron ? parseCronItems(choresByClock) : [],
    taskList: options.handlers as TaskList,
    preset: {
      worker: {
        // Batches of whatever comes in one tick. Without them graphile-worker 0.18 does not wait for the statement that
        // ends a job: a stop could overtake it, and when the master is lost just then, its rejection ends the process.
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
      plugins: [
        {
          name: 'freehold-worker-liveness',
          version: '1.0.0',
          worker: { hooks: { startWorker: (_ctx, { worker }) => onWorker(worker.workerPool.id) } },
        },
      ],
    },
  })

const launch = async (options: RunTasksOptions): Promise<Launched> => {
  const events: WorkerEvents = new EventEmitter()
  const gaveUp = Promise.withResolvers<void>()
  events.on('pool:gracefulShutdown', () => gaveUp.resolve())
  let workerId: string | undefined
  const pool = sparingPool(options.pool, (error) => {
    options.log.warn({ err: error }, 'the end of a job could not be written down; it will run again')
    void stop()
  })
  const starting = startRunner(options, pool, events, (id) => {
    workerId = id
    return options.beforeFirstJob(id)
  })
  // It rejects when the runner is ending by itself already.
  const stop = (): Promise<void> => starting.then((runner) => runner.stop()).catch(() => {})
  const runner = await starting
  const ended = runner.promise
    .catch((error: unknown) => options.log.warn({ err: error }, 'the job runner gave up'))
    .then(() => {
      gaveUp.resolve()
      return workerId === undefined ? undefined : options.afterLastJob(workerId)
    })
  return { stop, gaveUp: gaveUp.promise, ended }
}

/**
 * Runs jobs until stopped. A runner that gives up, because the master was lost while a job ended, is followed by a new one
 * under a new id, beside the jobs that the old one still runs. Rejects when the first one cannot start.
 */
export const runTasks = async (options: RunTasksOptions): Promise<RunningTasks> => {
  let current: Launched | undefined = await launch(options)
  const ending = new Set<Promise<void>>()
  const stopping = new AbortController()
  const next = async (): Promise<void> => {
    await sleep(restartDelay, undefined, { signal: stopping.signal }).catch(() => {})
    if (stopping.signal.aborted) return
    current = await launch(options).catch((error: unknown) => {
      options.log.warn({ err: error }, 'the job runner cannot start')
      return undefined
    })
    // Stopped while it started.
    if (stopping.signal.aborted) await current?.stop()
  }
  const keepRunning = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const runner = current
      if (runner !== undefined) {
        ending.add(runner.ended)
        void runner.ended.then(() => ending.delete(runner.ended))
        await runner.gaveUp
        current = undefined
      }
      await next()
    }
    await Promise.all([...ending, current?.ended])
  }
  const running = keepRunning()
  return {
    ready: () => current !== undefined && !stopping.signal.aborted,
    stop: async () => {
      stopping.abort()
      await current?.stop()
      await running
    },
  }
}
