import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { nodeApart } from '../helpers/apart.ts'
import { compileCache } from '../helpers/compile-cache.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export type End = { code: number | null; signal: NodeJS.Signals | null }

/** What the summary of a start tells: where it listens, and who may enter. */
export type Summary = {
  address: string
  adminEmail: string | undefined
  /** The generated password; undefined when the summary shows none. */
  adminPassword: string | undefined
  seconds: number
}

/** A real Freehold process. */
export type Freehold = {
  readonly child: ChildProcess
  readonly pid: number
  /** Resolves with the summary; rejects, with everything it said, when the process ends without one. */
  readonly ready: Promise<Summary>
  readonly ended: Promise<End>
  /** All of standard output so far. */
  out(): string
  /** Standard error so far, line by line. */
  errors(): string[]
  /** Sends the signal unless it has ended, and waits for its end. */
  end(signal: NodeJS.Signals): Promise<End>
}

const fieldOf = (text: string, name: string): string | undefined =>
  new RegExp(`^ {2}${name} +(\\S+)`, 'm').exec(text)?.[1]

/** Reads the summary; undefined while it is not complete. */
const readSummary = (text: string): Summary | undefined => {
  const address = fieldOf(text, 'API')
  if (address === undefined || !text.includes('Ctrl-C stops.')) return undefined
  const password = /^ {2}Password +(\S+) +\(shown only this once/m.exec(text)?.[1]
  return {
    address,
    adminEmail: fieldOf(text, 'Admin'),
    adminPassword: password,
    seconds: Number(/is ready \(([\d.]+) s\)/.exec(text)?.[1]),
  }
}

/** A folder without a `.env`, removed after the test. */
export const newWorkingFolder = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'test-start-up-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export type StartOptions = { cwd?: string; env?: Record<string, string> }

/**
 * Starts `node src/main.ts` on a free port with nothing of our own environment that it would read. It is stopped after the test. Runs
 * in `/` unless told otherwise, where no `.env` is.
 */
export const startFreehold = (t: Test, dataDir: string | undefined, options: StartOptions = {}): Freehold => {
  const { cwd = '/', env = {} } = options
  const [program, ...first] = nodeApart
  const child = spawn(program, [...first, main], {
    cwd,
    env: {
      PATH: process.env.PATH,
      ...compileCache,
      PORT: '0',
      SPARE_DATABASES: '1',
      ...(dataDir === undefined ? {} : { DATA_DIR: dataDir }),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = { out: '', errors: '' }
  const { promise: ready, resolve, reject } = Promise.withResolvers<Summary>()
  // Not everybody waits for the summary of a process that is going to fail.
  ready.catch(() => {})
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text.out += chunk
    const summary = readSummary(text.out)
    if (summary !== undefined) resolve(summary)
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.errors += chunk
  })
  const ended = new Promise<End>((resolveEnd) => {
    child.once('close', (code, signal) => {
      reject(new Error(`ended with ${code ?? signal}: ${text.out}${text.errors}`))
      resolveEnd({ code, signal })
    })
  })
  const end = (signal: NodeJS.Signals): Promise<End> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    return ended
  }
  t.teardown(() => end('SIGINT'))
  return {
    child,
    pid: child.pid ?? 0,
    ready,
    ended,
    out: () => text.out,
    errors: () => text.errors.split('\n').filter((line) => line !== ''),
    end,
  }
}
