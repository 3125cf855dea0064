import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
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

/**
 * Held shared by every command that works on a server it did not start, and alone by the one that stops it: so a server
 * never goes away under a command, and who comes too late finds it locked and waits for its end.
 */
export const useLock = [0x66726568, 1]

type Hold = { end: () => Promise<void> }

/** A session in the master that holds the use lock; undefined when it can't be had or the server is not to be used. */
const holdServer = async (
  address: PostgresAddress,
  log: Logger,
  statement: string,
): Promise<Hold | undefined> => {
  const master = openMaster(address, log)
  try {
    const client = await master.pool.connect()
    const { rows } = await client.query(statement, useLock)
    if (rows[0]?.held !== false) {
      const end = async (): Promise<void> => {
        client.release(true)
        await master.close()
      }
      return { end }
    }
    client.release(true)
  } catch (error) {
    log.debug({ err: error }, 'the server is not to be used')
  }
  await master.close()
  return undefined
}

/** Finds the server of a Freehold that runs, or starts it; waits for one that is starting or stopping right now. */
const openEmbedded = async (config: Config, log: Logger): Promise<Opened> => {
  for (const deadline = Date.now() + patience; ; ) {
    const running = await findRunningEmbeddedPostgres(config)
    const hold =
      running && (await holdServer(running.master, log, 'select pg_try_advisory_lock_shared($1, $2) as held'))
    if (running !== undefined && hold !== undefined) {
      const { master, provisioner } = running
      return { master, provisioner, startedHere: false, stop: hold.end }
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

/** Waits until no other command uses the server that this one is about to stop, and keeps others from beginning to. */
const waitForOthers = ({ master, log }: Grounds): Promise<Hold | undefined> =>
  // The pool's statement timeout bounds the wait.
  holdServer(master, log, 'select pg_advisory_lock($1, $2)')

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
      const hold = !over && grounds.startedHere ? await waitForOthers(grounds) : undefined
      await stop()
      await hold?.end()
    }
  } finally {
    for (const signal of signals) process.off(signal, interrupt)
    // What the work says now is only that its server has gone; the process ends in a moment.
    if (over) await new Promise<never>(() => {})
  }
}
