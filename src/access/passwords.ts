import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism, getPriority, setPriority } from 'node:os'
import { hash, needsRehash, verify } from 'argon2'
import { AppError } from '../kernel/errors.ts'
import { loadCommonPasswords } from './common-passwords.ts'

/** What one hash takes: `memoryCost` in KiB, `timeCost` in passes over it, `parallelism` in lanes. */
export type PasswordCost = Readonly<{ memoryCost: number; timeCost: number; parallelism: number }>

/** OWASP Password Storage Cheat Sheet, argon2id: 19 MiB of memory, 2 passes, 1 lane. */
const owaspCost: PasswordCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** A hash of this cost that no password has. */
const hashOfNothing = ({ memoryCost, timeCost, parallelism }: PasswordCost): string => {
  const text = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${text(16)}$${text(32)}`
}

/**
 * At most this many at once. One core is left for requests, and one of libuv's four threads for DNS and files, which
 * would otherwise wait behind passwords.
 */
export const concurrent = Math.max(1, Math.min(3, availableParallelism() - 1))
/** More than this many waiting means many seconds of waiting (each takes 30 ms or more): better refused at once. */
const waiting = 200 * concurrent
/** By then about half of those who wait have had their turn. */
const retryAfterSeconds = 3

/**
 * Hashes and checks passwords with argon2id, a few at a time so that a storm of sign-ins starves no other route.
 * Throws `overloaded` when too many already wait.
 */
export type Passwords = {
  hash(password: string): Promise<string>
  /** With no `stored` hash it does the same work and answers false, so that unknown accounts take as long. */
  verify(stored: string | null | undefined, password: string): Promise<boolean>
  /** True when the hash was made with other parameters than are used now: hash again while the password is at hand. */
  isOutdated(stored: string): boolean
  /** Throws `validation_failed` when a new password, given in the body's `field`, is one that everybody tries first. */
  mustBeUncommon(password: string, field: string): void
}

/** A gate that lets `concurrent` through at a time, first come first served, while `mostWaiting` wait. */
const createGate = (mostWaiting: number): (<T>(work: () => Promise<T>) => Promise<T>) => {
  let running = 0
  const queue: (() => void)[] = []
  return async (work) => {
    if (running >= concurrent) {
      if (queue.length >= mostWaiting) {
        throw new AppError('overloaded', 'Too many people are signing in right now; try again in a moment.', {
          retryAfter: retryAfterSeconds,
        })
      }
      await new Promise<void>((resolve) => queue.push(resolve))
    } else {
      running += 1
    }
    try {
      return await work()
    } finally {
      // The place is handed to the next in line, or given back.
      const next = queue.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}

/** A thread that is nicer by this gets a tenth of the scheduler's turns beside another (sched(7)). */
const hashingNiceness = 10

/**
 * Makes the threads that hash give way to the one that answers requests. Only Linux has a priority for each thread; elsewhere,
 * or where it can't be set, all stay equal.
 */
const giveWay = async (): Promise<void> => {
  const tasks = '/proc/self/task'
  try {
    for (const id of await readdir(tasks)) {
      const name = await readFile(`${tasks}/${id}/comm`, 'utf8')
      if (name.trim() !== 'libuv-worker') continue
      setPriority(Number(id), Math.min(19, getPriority() + hashingNiceness))
    }
  } catch {
    // Passwords are checked all the same.
  }
}

/** Tests of what is not about passwords give a lower `cost`. */
export const createPasswords = async ({
  mostWaiting = waiting,
  cost = owaspCost,
}: {
  mostWaiting?: number | undefined
  cost?: PasswordCost | undefined
} = {}): Promise<Passwords> => {
  const gate = createGate(mostWaiting)
  const isCommon = await loadCommonPasswords()
  // libuv has made its threads by now, for the files that were read.
  await giveWay()
  const decoy = hashOfNothing(cost)
  return {
    hash: (password) => gate(() => hash(password, cost)),
    verify: async (stored, password) => {
      const matches = await gate(() => verify(stored ?? decoy, password))
      return typeof stored === 'string' && matches
    },
    isOutdated: (stored) => needsRehash(stored, cost),
    mustBeUncommon: (password, field) => {
      if (!isCommon(password)) return
      const message = 'is one of the passwords that are tried first; choose another one'
      throw new AppError('validation_failed', `The password ${message}.`, {
        errors: [{ path: `/${field}`, message }],
      })
    },
  }
}
