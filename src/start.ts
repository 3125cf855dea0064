import type { FirstAdmin } from './access/first-admin.ts'
import { buildApp } from './app.ts'
import { createReadiness, type ReadyCheck } from './control/status/readiness.ts'
import { startEmbeddedPostgres } from './embedded-postgres/embedded-postgres.ts'
import { lostMasterKey, makeMasterKey, readMasterKeys } from './embedded-postgres/master-key.ts'
import type { App } from './http/app.ts'
import { takeLeave } from './http/take-leave.ts'
import { type Config, configuredKeys } from './kernel/config.ts'
import { OperatorError } from './kernel/errors.ts'
import { createLogger, type Logger } from './kernel/log.ts'
import { isInstalled } from './master/installation.ts'
import { isMasterMigrated } from './master/migrate-master.ts'
import { printMistake } from './print-mistake.ts'
import { type Grounds, openService, type Service } from './service.ts'
import { startSummary } from './summary.ts'
import { startWorker, type Worker } from './worker.ts'

/** One start of Freehold, from its first part to its end. */
type Run = {
  readonly config: Config
  readonly log: Logger
  /** The steps of an orderly end, run last opened first. A step that fails is logged and does not stop the others. */
  readonly closers: (() => Promise<void>)[]
  stopping: boolean
  leave: Leave
  /** Called when the embedded server ends without being asked to. */
  readonly onLost: (why: string) => void
}

/**
 * How much time others get to notice the end, in milliseconds: load balancers see `not ready` for `drain` before the listener
 * closes; then a client with a connection has `farewell` to send what it is about to send, which it may have kept back for a
 * second or two while it waited for an answer of another node.
 */
type Leave = Readonly<{ drain: number; farewell: number }>
const slowLeave: Leave = { drain: 500, farewell: 3_000 }
/** For the person at Ctrl-C. */
const quickLeave: Leave = { drain: 0, farewell: 1_000 }

/** What a start that was told to stop half-way throws: no news to anybody. */
class Stopped extends Error {}

/**
 * Waits for a part of the start. Its closer stands before the part does: a stop half-way waits until it is there, closes it,
 * and the start goes no further.
 */
const open = async <T>(
  run: Run,
  opening: Promise<T>,
  close: (part: T) => Promise<unknown> = async () => {},
): Promise<T> => {
  run.closers.push(async () => {
    const opened = await opening.then(
      (part) => ({ part }),
      () => undefined,
    )
    if (opened !== undefined) await close(opened.part)
  })
  const part = await opening
  if (run.stopping) throw new Stopped()
  return part
}

const openGrounds = async (run: Run): Promise<Grounds> => {
  const { config, log, onLost } = run
  const given = configuredKeys(config)
  if (config.external !== undefined) {
    if (given === undefined) throw new OperatorError('MASTER_KEY is required with MASTER_DATABASE_URL')
    return { ...config.external, masterKey: async () => given }
  }
  const postgres = await open(
    run,
    startEmbeddedPostgres({
      dataDir: config.dataDir,
      onLog: (line) => log.debug({ line }, 'postgres'),
      onExit: onLost,
    }),
    (server) => server.stop(),
  )
  return {
    master: postgres.master,
    provisioner: postgres.provisioner,
    alone: true,
    masterKey: async (db) => {
      const kept = given ?? (await readMasterKeys(config.dataDir))
      if (kept !== undefined) return kept
      if (await isInstalled(db)) throw lostMasterKey(config.dataDir)
      return makeMasterKey(config.dataDir)
    },
  }
}

const readyChecks = (service: Service, worker: Worker | undefined): ReadyCheck[] => [
  {
    name: 'migrations',
    check: async () => {
      if (!(await isMasterMigrated(service.master.db))) throw new Error('the master is behind this release')
      return 'up to date'
    },
  },
  {
    name: 'master',
    check: async () => {
      if (!service.changes.isFresh()) throw new Error('the change channel is silent')
      if (!service.knowsMasterKey()) throw new Error('the master key was rotated to one that this node lacks')
      return 'reachable'
    },
  },
  {
    name: 'clusters',
    check: async () => {
      // Other nodes have all connections: no tenant is served here, whose ever they are.
      if (service.budgets().some(({ granted }) => granted === 0))
        throw new Error('no connection is left for this node')
      return `${await service.manager.pingClusters()} reachable`
    },
  },
  ...(service.redisIsUp === undefined
    ? []
    : [
        {
          name: 'redis',
          // No reason to send nobody here: the master counts meanwhile.
          check: async () => (service.redisIsUp?.() ? 'reachable' : 'away; limits are counted in the master'),
        },
      ]),
  ...(worker === undefined
    ? []
    : [
        {
          name: 'worker',
          check: async () => {
            if (!worker.ready()) throw new Error('the worker does not run')
            return 'running'
          },
        },
      ]),
]

/** What listening fails with when HOST or PORT can't be had; the last two when HOST is no name of anything. */
const mistakenAddress = new Set(['EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'])

const listen = async (app: App, config: Config): Promise<string> => {
  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') {
      throw new OperatorError(
        `Port ${config.port} on ${config.host} is in use; set PORT to a free one`,
        error,
      )
    }
    if (code !== undefined && mistakenAddress.has(code)) {
      throw new OperatorError(
        `Cannot listen on ${config.host}:${config.port}; set HOST and PORT to what this user may have`,
        error,
      )
    }
    throw error
  }
  const address = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : config.port
  return config.port === 0 ? `http://${config.host}:${port}` : config.publicUrl
}

const openWorker = async (run: Run, service: Service): Promise<Worker> => {
  // The first tenants shall find a database; later refills are the worker's.
  const { spares } = await open(run, service.manager.startFacts())
  if (spares === 0) await open(run, service.manager.refillSpares())
  return open(run, startWorker({ ...service, auditRetentionDays: run.config.auditRetentionDays }), (worker) =>
    worker.stop(),
  )
}

const start = async (run: Run): Promise<void> => {
  const { config, log } = run
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1000
  const service = await open(run, openService(config, await openGrounds(run), log), (opened) =>
    opened.close(),
  )
  const worker = config.role === 'api' ? undefined : await openWorker(run, service)
  if (config.role === 'worker') return log.info({ seconds: seconds() }, 'the worker is ready')
  const ready = createReadiness(readyChecks(service, worker), () => run.stopping)
  const { app } = await open(run, buildApp(service, ready), (built) =>
    takeLeave(built.app, run.leave.farewell),
  )
  const address = await open(run, listen(app, config))
  const { spares, postgres } = await open(run, service.manager.startFacts())
  const show = (firstAdmin: FirstAdmin | undefined): void => {
    process.stdout.write(startSummary({ config, address, postgres, seconds: seconds(), spares, firstAdmin }))
  }
  await open(run, service.announceFirstAdmin(show))
}

/** For what nobody foresaw: into the log, or in one line to standard error when there is no log. */
const reportFatal = (log: Logger, error: unknown, what: string): void => {
  log.fatal({ err: error }, what)
  if (log.isLevelEnabled('fatal')) return
  process.stderr.write(`freehold: ${what}: ${error instanceof Error ? error.message : String(error)}\n`)
}

/** Closes what is open, last opened first, and ends the process. */
const end = async (run: Run, exitCode: number): Promise<never> => {
  const { drain } = run.leave
  if (drain > 0) await new Promise((resolve) => setTimeout(resolve, drain))
  for (let closer = run.closers.pop(); closer !== undefined; closer = run.closers.pop()) {
    await closer().catch((error: unknown) => run.log.error({ err: error }, 'a part did not close cleanly'))
  }
  process.exit(exitCode)
}

/** Starts Freehold and ends the process when it is told to stop, when its database goes away, or when it could not start. */
export const runUntilStopped = async (config: Config): Promise<void> => {
  const log = createLogger(config.logLevel)
  let ending: Promise<never> | undefined
  const stop = (exitCode: number, leave = quickLeave): Promise<never> => {
    if (ending === undefined) {
      run.stopping = true
      run.leave = leave
      ending = end(run, exitCode)
    }
    return ending
  }
  const onLost = (why: string): void => {
    printMistake(
      new OperatorError(
        `its database server went away (${why}); what it said is in ${config.dataDir}/postgres/log. Start Freehold again`,
      ),
    )
    void stop(1)
  }
  const run: Run = { config, log, closers: [], stopping: false, leave: quickLeave, onLost }
  // A closed terminal ends the process like Ctrl-C, or its database server would stay behind.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => void stop(0))
  process.on('SIGTERM', () => void stop(0, slowLeave))
  const crash = (error: unknown): void => {
    reportFatal(log, error, 'an error that nobody handled')
    void stop(1)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  try {
    await start(run)
  } catch (error) {
    // A start that is stopped half-way fails because its parts are gone.
    if (!run.stopping) {
      if (error instanceof OperatorError) printMistake(error)
      else reportFatal(log, error, 'Freehold could not start')
    }
    await stop(1)
  }
}
