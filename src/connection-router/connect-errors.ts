import pg from 'pg'
import { AppError } from '../kernel/errors.ts'

/**
 * The caller's error when a tenant's database can't be reached; the driver's own words stay in `cause`. Trying again
 * makes sense after `retryAfter` seconds.
 */
export const unavailable = (cause: unknown, retryAfter = 1): AppError =>
  new AppError(
    'database_unavailable',
    'The tenant database cannot be reached right now. Try again shortly.',
    {
      retryAfter,
      cause,
    },
  )

/** Thrown inside when a connection reached another database or role than its address names. */
export class AnotherDatabase extends Error {
  override readonly name = 'AnotherDatabase'
}

/** Why a connect failed on a socket that had been opened ahead when nothing came back on it: that says nothing about the server. */
class StaleSocket extends Error {
  override readonly name = 'StaleSocket'

  constructor(cause: unknown) {
    super('nothing came back on a socket that had been opened ahead', { cause })
  }
}

/** Why a connect failed when the server answered the login and said nothing more in time: that says nothing about other databases. */
class SilentDatabase extends Error {
  override readonly name = 'SilentDatabase'

  constructor(cause: unknown) {
    super('the server answered the login, and then its database said nothing', { cause })
  }
}

/**
 * The caller's error when a connect failed; `unheard` when that was on a socket opened ahead, and nothing came back; `silent` when
 * the login was answered, and then nothing came in time.
 */
export const unopened = (cause: unknown, unheard: boolean, silent: boolean): AppError => {
  if (silent) return unavailable(new SilentDatabase(cause))
  return unavailable(unheard ? new StaleSocket(cause) : cause)
}

/** True when another connect, on a socket of its own, may well succeed. */
export const wasStaleSocket = (error: unknown): boolean =>
  error instanceof AppError && error.cause instanceof StaleSocket

/** Where the server says `too many connections` for one role or one database, not for all of them (postgres sources). */
const ownLimitRoutines = new Set(['InitializeSessionUserId', 'CheckMyDatabase'])

/**
 * True when this error of a failed connect is about the cluster and not about one tenant: nobody answered the login in time,
 * or the server said that it has no connection (53300) or other resource left, or that it starts or stops (57P).
 */
export const clusterIsAway = (error: unknown): boolean => {
  const cause = error instanceof AppError ? error.cause : error
  if (cause instanceof AnotherDatabase || cause instanceof SilentDatabase) return false
  if (!(cause instanceof pg.DatabaseError)) return true
  const { code = '', routine = '' } = cause
  return /^(08|53|57P0[1235])/.test(code) && !ownLimitRoutines.has(routine)
}

/** The caller's error when no connection became free in time. Trying again makes sense after `retryAfter` seconds. */
export const overloaded = (cause?: unknown, retryAfter = 1): AppError =>
  new AppError('overloaded', 'The service is busy. Try again shortly.', { retryAfter, cause })

/**
 * True when this error ends the connection: the server said so (class 08, 57P01 admin shutdown, 57P02 crash, 57P03
 * starting, 57P04 database dropped, 57P05 idle timeout, or any FATAL). SQLSTATE: PostgreSQL manual, appendix A.
 */
export const endsConnection = (error: unknown): boolean =>
  error instanceof pg.DatabaseError &&
  (error.severity === 'FATAL' || error.severity === 'PANIC' || /^(08|57P0)/.test(error.code ?? ''))

/**
 * True when the connection must not serve anyone else after this error: operator intervention and timeouts (57),
 * connection (08) and internal errors (XX), and everything that did not come from the server.
 */
export const spoilsConnection = (error: unknown): boolean =>
  !(error instanceof pg.DatabaseError) || /^(08|57|XX)/.test(error.code ?? 'XX')
