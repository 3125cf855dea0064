import { hash, verify } from 'argon2'
import { AppError } from '../kernel/errors.ts'

/** OWASP Password Storage Cheat Sheet, argon2id: 19 MiB of memory, 2 passes, 1 lane. */
const argon = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** At most this many at once: each takes a thread of libuv's pool of four, which DNS and files need too. */
const concurrent = 2
/** More than this many waiting means seconds of waiting: better refused at once. */
const waiting = 200

/**
 * Hashes and checks passwords with argon2id, a few at a time so that a storm of sign-ins starves no other route.
 * Throws `overloaded` when too many already wait.
 */
export type Passwords = {
  hash(password: string): Promise<string>
  /** With no `stored` hash it does the same work and answers false, so that unknown accounts take as long. */
  verify(stored: string | null | undefined, password: string): Promise<boolean>
}

/** A gate that lets `concurrent` through at a time, first come first served. */
const createGate = (): (<T>(work: () => Promise<T>) => Promise<T>) => {
  let running = 0
  const queue: (() => void)[] = []
  return async (work) => {
    if (running >= concurrent) {
      if (queue.length >= waiting) {
        throw new AppError('overloaded', 'Too many people are signing in right now; try again in a moment.')
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

export const createPasswords = async (): Promise<Passwords> => {
  const gate = createGate()
  const decoy = await hash('no password is ever checked against this one', argon)
  return {
    hash: (password) => gate(() => hash(password, argon)),
    verify: async (stored, password) => {
      const matches = await gate(() => verify(stored ?? decoy, password))
      return typeof stored === 'string' && matches
    },
  }
}
