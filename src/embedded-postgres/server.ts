import type { ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { OperatorError } from '../kernel/errors.ts'
import type { SystemUser } from './files.ts'
import { readPostmasterFile } from './postmaster-file.ts'
import { signalServer } from './processes.ts'
import type { Programs } from './programs.ts'
import { cannotRun, collectLines, spawnProgram } from './run-program.ts'
import { lastFailure } from './server-log.ts'
import { folderArgument } from './server-user.ts'
import { socketPort } from './socket-folder.ts'

export type Server = Readonly<{
  port: number
  /** Resolves with the reason when the server has ended, asked to or not. */
  ended: Promise<string>
  /** Fast stop; resolves when the server and its logger have ended. Safe twice. */
  stop(): Promise<void>
}>

export type ServerOptions = Readonly<{
  dataFolder: string
  programs: Programs
  user: SystemUser | undefined
  /** `undefined` on Windows, where the server listens on a loopback port instead. */
  socketFolder: string | undefined
  onLog?: ((line: string) => void) | undefined
}>

/** Milliseconds until the server must accept connections: recovery after a crash can take minutes. */
const longestStart = 600_000
/** Milliseconds for a fast stop, which writes what is in memory to disk, before an immediate one. */
const longestStop = 60_000

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : socketPort))
    })
  })

/** On the command line, because nothing in the data folder (`alter system`) may override who can reach the server. */
const reach = (port: number, socketFolder: string | undefined): Record<string, string | number> => ({
  port,
  listen_addresses: socketFolder === undefined ? '127.0.0.1' : '',
  ...(socketFolder === undefined
    ? {}
    : {
        unix_socket_directories: `"${socketFolder.replaceAll('"', '""')}"`,
        unix_socket_permissions: '0700',
      }),
})

const endOf = (child: ChildProcess, program: string): { exited: Promise<string>; closed: Promise<void> } => ({
  exited: new Promise((resolve, reject) => {
    child.once('error', (error) => reject(cannotRun(program, error)))
    child.once('exit', (code, signal) =>
      resolve(`PostgreSQL ended ${signal === null ? `with exit code ${code}` : `by ${signal}`}`),
    )
  }),
  closed: new Promise((resolve) => child.once('close', () => resolve())),
})

const waitUntilReady = async (
  child: ChildProcess,
  dataFolder: string,
  ended: () => boolean,
): Promise<boolean> => {
  for (const end = Date.now() + longestStart; Date.now() < end && !ended(); await sleep(5)) {
    const file = await readPostmasterFile(dataFolder)
    if (file?.ready === true && file.pid === child.pid) return true
  }
  return false
}

const stopChild = async (
  child: ChildProcess,
  programs: Programs,
  exited: Promise<string>,
  closed: Promise<void>,
): Promise<void> => {
  const running = (): boolean => child.exitCode === null && child.signalCode === null
  const ask = async (signal: 'SIGINT' | 'SIGQUIT', patience: number): Promise<void> => {
    if (child.pid === undefined || !running()) return
    await signalServer(programs, child.pid, signal)
    await Promise.race([exited, sleep(patience, undefined, { ref: false })])
  }
  await ask('SIGINT', longestStop)
  await ask('SIGQUIT', longestStop / 6)
  if (running()) child.kill('SIGKILL')
  await exited
  // The logger ends after the server and holds its standard error until then.
  await Promise.race([closed, sleep(5000, undefined, { ref: false })])
}

/** Starts the server and resolves when it accepts connections. Throws an OperatorError with the server's reason. */
export const startServer = async (options: ServerOptions): Promise<Server> => {
  const { dataFolder, programs, user, socketFolder } = options
  const port = socketFolder === undefined ? await freePort() : socketPort
  const fixed = Object.entries(reach(port, socketFolder)).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ])
  const since = new Date()
  const child = spawnProgram(programs.postgres, ['-D', await folderArgument(dataFolder, user), ...fixed], {
    folder: dataFolder,
    user,
  })
  const lines = collectLines(child.stderr, options.onLog)
  const { exited, closed } = endOf(child, programs.postgres)
  let over = false
  const ended = exited.finally(() => {
    over = true
  })
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => (stopping ??= stopChild(child, programs, exited, closed))

  const ready = await Promise.race([waitUntilReady(child, dataFolder, () => over), ended.then(() => false)])
  if (ready) return { port, ended, stop }
  await stop()
  const words = (await lastFailure(dataFolder, lines, since)) ?? (await ended)
  throw new OperatorError(`PostgreSQL does not start in ${dataFolder}: ${words}`)
}
