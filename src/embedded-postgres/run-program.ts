import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { OperatorError } from '../kernel/errors.ts'
import type { SystemUser } from './files.ts'
import { spawnAs } from './server-user.ts'

/**
 * The environment of the server's programs: nothing of ours, since it holds secrets (MASTER_KEY) that a superuser's SQL
 * or another process of `nobody` could read. Windows programs do not start without these two.
 */
const cleanEnvironment = (): NodeJS.ProcessEnv => ({
  LC_ALL: 'C',
  TZ: 'UTC',
  ...(process.platform === 'win32'
    ? { SystemRoot: process.env.SystemRoot, TEMP: process.env.TEMP }
    : { PATH: '/usr/bin:/bin' }),
})

/**
 * Starts a program in a session of its own, so that Ctrl-C in the terminal reaches Freehold alone, which then drains and
 * stops the server in order.
 */
export const spawnProgram = (
  program: string,
  args: readonly string[],
  options: { folder: string; user: SystemUser | undefined; input?: boolean },
): ChildProcess =>
  spawn(program, args, {
    cwd: options.folder,
    env: cleanEnvironment(),
    detached: true,
    windowsHide: true,
    stdio: [options.input === true ? 'pipe' : 'ignore', 'ignore', 'pipe'],
    ...spawnAs(options.user),
  })

/** Hands each line on and keeps the last few for an error's message. */
export const collectLines = (stream: Readable | null, onLog?: (line: string) => void): readonly string[] => {
  const last: string[] = []
  if (stream === null) return last
  createInterface({ input: stream }).on('line', (line) => {
    last.push(line)
    if (last.length > 20) last.shift()
    onLog?.(line)
  })
  return last
}

/** Why a program could not even be started: the usual cause is a system (musl, an old glibc) it was not built for. */
export const cannotRun = (program: string, cause: unknown): OperatorError =>
  new OperatorError(
    `The PostgreSQL that comes with Freehold does not run on this system (${program}: ${cause instanceof Error ? cause.message : String(cause)}); set MASTER_DATABASE_URL to use a server of your own`,
    cause,
  )

/** Runs a program to its end, with `input` on its standard input. Throws an OperatorError with its last words. */
export const runProgram = (
  program: string,
  args: readonly string[],
  options: {
    folder: string
    user: SystemUser | undefined
    input?: string
    onLog?: ((line: string) => void) | undefined
  },
): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawnProgram(program, args, { ...options, input: options.input !== undefined })
    const lines = collectLines(child.stderr, options.onLog)
    child.on('error', (error) => reject(cannotRun(program, error)))
    child.on('close', (code, signal) => {
      if (code === 0) return resolve()
      const words =
        lines.filter((line) => /error|FATAL|PANIC/i.test(line)).at(-1) ?? lines.at(-1) ?? 'no message'
      reject(new OperatorError(`${program} ended with ${code ?? signal}: ${words}`))
    })
    // A program that ended early closes its input; how it ended says more than the broken pipe.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input)
  })
