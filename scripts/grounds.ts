import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import {
  findRunningEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../src/embedded-postgres/embedded-postgres.ts'
import { isFolderLocked } from '../src/embedded-postgres/folder-lock.ts'
import { type Config, loadConfig } from '../src/kernel/config.ts'
import { createLogger, type Logger } from '../src/kernel/log.ts'
import type { PostgresAddress } from '../src/kernel/postgres-address.ts'
import { openMaster } from '../src/master/master.ts'

/** Where this installation's server is, and how a command that started it leaves it. */
export type Grounds = Readonly<{
  config: Config
  log: Logger
  master: PostgresAddress
  provisioner: PostgresAddress
  /** True when this command started the embedded server, because no Freehold was running. */
  startedHere: boolean
}>

type Opened = Omit<Grounds, 'config' | 'log'> & { stop: () => Promise<void> }

/** Milliseconds in which another Freehold on the folder should have finished starting or stopping. */
const patience = 20_000

/** The installation of this folder, wherever in it the command was typed. */
const projectFolder = fileURLToPath(new URL('..', import.meta.url))

/** The configuration that `npm start` has. Throws an OperatorError with a line for each mistake. */
export const readConfig = (): Config => {
  const file = join(projectFolder, '.env')
  if (existsSync(file)) process.loadEnvFile(file)
  return loadConfig(process.env, projectFolder)
}

/** Commands speak through their output; the log is for looking into them, so it only speaks when asked to. */
const commandLogger = (config: Config): Logger =>
  createLogger(config.logLevel === 'info' ? 'silent' : config.logLevel, process.stderr)

const canConnect = async (address: PostgresAddress, log: Logger): Promise<boolean> => {
  const master = openMaster(address, log)
  try {
    await sql`select 1`.execute(master.db)
    return true
  } catch {
    return false
  } finally {
    await master.close()
  }
}

/** Finds the server of a Freehold that runs, or starts it; waits for one that is starting or stopping right now. */
const openEmbedded = async (config: Config, log: Logger): Promise<Opened> => {
  for (const deadline = Date.now() + patience; ; ) {
    const running = await findRunningEmbeddedPostgres(config)
    if (running !== undefined && (await canConnect(running.master, log))) {
      const { master, provisioner } = running
      return { master, provisioner, startedHere: false, stop: async () => {} }
    }
    try {
      const { master, provisioner, stop } = await startEmbeddedPostgres({
        dataDir: config.dataDir,
        onLog: (line) => log.debug({ line }, 'postgres'),
      })
      return { master, provisioner, startedHere: true, stop }
    } catch (error) {
      if (Date.now() > deadline || !(await isFolderLocked(config.dataDir))) throw error
      await sleep(100)
    }
  }
}

const open = async (config: Config, log: Logger): Promise<Opened> =>
  config.external === undefined
    ? openEmbedded(config, log)
    : { ...config.external, startedHere: false, stop: async () => {} }

/** Waits until no other command uses the server that this one is about to stop. */
const waitForOthers = async ({ master, log }: Grounds): Promise<void> => {
  const last = openMaster(master, log)
  try {
    for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(20)) {
      const { rows } = await sql`
        select from pg_stat_activity
         where usename = current_user and application_name like 'freehold%' and pid <> pg_backend_pid()
         limit 1`.execute(last.db)
      if (rows.length === 0) return
    }
  } finally {
    await last.close()
  }
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs `work` on this installation's server. A server that had to be started is stopped again however the work ends, also
 * by Ctrl-C; then the process ends with 128 and the signal's number.
 */
export const withGrounds = async <T>(config: Config, work: (grounds: Grounds) => Promise<T>): Promise<T> => {
  const log = commandLogger(config)
  const opening = open(config, log)
  let over = false
  const interrupt = (signal: (typeof signals)[number]): void => {
    over = true
    const leave = (): never => process.exit(128 + constants.signals[signal])
    opening.then(({ stop }) => stop()).then(leave, leave)
  }
  for (const signal of signals) process.once(signal, interrupt)
  try {
    const { stop, ...addresses } = await opening
    const grounds = { config, log, ...addresses }
    try {
      return await work(grounds)
    } finally {
      if (!over && grounds.startedHere) await waitForOthers(grounds).catch(() => {})
      await stop()
    }
  } finally {
    for (const signal of signals) process.off(signal, interrupt)
    // What the work says now is only that its server has gone; the process ends in a moment.
    if (over) await new Promise<never>(() => {})
  }
}
