import { parseCronItems, type Runner, type RunnerOptions, run } from 'graphile-worker'
import type { Logger } from '../kernel/log.ts'
import { graphileLog } from './graphile-log.ts'
import type { TaskHandlers } from './tasks.ts'

/** The pool graphile-worker borrows connections from. It and each client must have an `error` handler. */
export type QueuePool = NonNullable<RunnerOptions['pgPool']>

export type RunTasksOptions = {
  pool: QueuePool
  log: Logger
  handlers: TaskHandlers
  /** Jobs at once in this process. */
  concurrency: number
  /** Called, and waited for, before this process takes its first job: the id under which it will lock jobs. */
  beforeFirstJob: (workerId: string) => Promise<void>
}

/** Every minute, on one node of all. Nothing is made up for minutes in which no worker ran: a pass looks at everything. */
const cron = [
  { task: 'reconcile', match: '* * * * *', options: { jobKey: 'reconcile', queueName: 'reconcile' } },
]

/**
 * Runs jobs until stopped. Installs no signal handlers: whoever started it decides when it ends.
 * `stop()` of the result takes no new jobs and waits for the running ones.
 */
export const runTasks = ({
  pool,
  log,
  handlers,
  concurrency,
  beforeFirstJob,
}: RunTasksOptions): Promise<Runner> =>
  run({
    pgPool: pool,
    concurrency,
    noHandleSignals: true,
    logger: graphileLog(log),
    // Waiting jobs are announced by NOTIFY; polling only finds those that become due by time.
    pollInterval: 2_000,
    parsedCronItems: parseCronItems(cron),
    taskList: handlers,
    preset: {
      plugins: [
        {
          name: 'freehold-worker-liveness',
          version: '1.0.0',
          worker: { hooks: { startWorker: (_ctx, { worker }) => beforeFirstJob(worker.workerPool.id) } },
        },
      ],
    },
  })
