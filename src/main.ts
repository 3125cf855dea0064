import { existsSync } from 'node:fs'
import { buildApp } from './app.ts'
import { createReadiness, type ReadyCheck } from './control/status/readiness.ts'
import { startEmbeddedPostgres } from './embedded-postgres/embedded-postgres.ts'
import { provideMasterKey } from './embedded-postgres/master-key.ts'
import type { App } from './http/app.ts'
import { type Config, loadConfig } from './kernel/config.ts'
import { OperatorError } from './kernel/errors.ts'
import { createLogger, type Logger } from './kernel/log.ts'
import { isMasterMigrated } from './master/migrate-master.ts'
import { type Grounds, openService, type Service } from './service.ts'
import { startSummary } from './summary.ts'
import { startWorker, type Worker } from './worker.ts'

/** The steps of an orderly end, run last opened first. A step that fails is logged and does not stop the others. */
type Closers = (() => Promise<void>)[]

/** Load balancers see `not ready` for this long before the listener closes. A person at Ctrl-C does not wait for them. */
const drainMs = 500

const openGrounds = async (
  config: Config,
  log: Logger,
  closers: Closers,
  onLost: (why: string) => void,
): Promise<Grounds> => {
  if (config.external !== undefined) {
    if (config.masterKey === undefined)
      throw new OperatorError('MASTER_KEY is required with MASTER_DATABASE_URL')
    return { ...config.external, masterKey: config.masterKey }
  }
  const postgres = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    onLog: (line) => log.debug({ line }, 'postgres'),
    onExit: onLost,
  })
  closers.push(() => postgres.stop())
  return {
    master: postgres.master,
    provisioner: postgres.provisioner,
    masterKey: config.masterKey ?? (await provideMasterKey(config.dataDir)),
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
      return 'reachable'
    },
  },
  {
    name: 'clusters',
    check: async () => `${await service.manager.pingClusters()} reachable`,
  },
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
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
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

const start = async (
  config: Config,
  log: Logger,
  closers: Closers,
  state: { stopping: boolean },
  onLost: (why: string) => void,
): Promise<void> => {
  const began = performance.now()
  const grounds = await openGrounds(config, log, closers, onLost)
  const service = await openService(config, grounds, log)
  closers.push(() => service.close())
  let worker: Worker | undefined
  if (config.role !== 'api') {
    // The first tenants shall find a database; later refills are the worker's.
    if ((await service.manager.startFacts()).spares === 0) await service.manager.refillSpares()
    worker = await startWorker(service)
    closers.push(() => worker?.stop() ?? Promise.resolve())
  }
  let address = ''
  if (config.role !== 'worker') {
    const ready = createReadiness(readyChecks(service, worker), () => state.stopping)
    const { app } = await buildApp(service, ready)
    closers.push(() => app.close())
    address = await listen(app, config)
  }
  const seconds = (performance.now() - began) / 1000
  if (address === '') return log.info({ seconds }, 'the worker is ready')
  const { spares, postgres } = await service.manager.startFacts()
  process.stdout.write(
    startSummary({ config, address, postgres, seconds, spares, firstAdmin: service.firstAdmin }),
  )
  if (service.firstAdmin !== undefined) await service.firstAdminShown()
}

const printMistake = (error: OperatorError): void => {
  for (const line of error.lines) process.stderr.write(`freehold: ${line}\n`)
}

const run = async (config: Config): Promise<void> => {
  const log = createLogger(config.logLevel)
  const closers: Closers = []
  const state = { stopping: false }
  let stopped: Promise<void> | undefined
  const stop = (exitCode: number, drain = 0): Promise<void> => {
    stopped ??= (async () => {
      state.stopping = true
      if (drain > 0) await new Promise((resolve) => setTimeout(resolve, drain))
      for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) {
        await closer().catch((error: unknown) => log.error({ err: error }, 'a part did not close cleanly'))
      }
      process.exit(exitCode)
    })()
    return stopped
  }
  process.on('SIGINT', () => void stop(0))
  process.on('SIGTERM', () => void stop(0, drainMs))
  const crash = (error: unknown): void => {
    log.fatal({ err: error }, 'an error that nobody handled')
    void stop(1)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  try {
    await start(config, log, closers, state, (why) => {
      log.fatal({ why }, 'the embedded PostgreSQL ended')
      void stop(1)
    })
  } catch (error) {
    // A start that was told to stop half-way fails because its parts are gone: that is no news.
    if (!state.stopping) {
      if (error instanceof OperatorError) printMistake(error)
      else log.fatal({ err: error }, 'Freehold could not start')
    }
    await stop(1)
  }
}

try {
  if (existsSync('.env')) process.loadEnvFile('.env')
  await run(loadConfig(process.env))
} catch (error) {
  if (!(error instanceof OperatorError)) throw error
  printMistake(error)
  process.exitCode = 2
}
