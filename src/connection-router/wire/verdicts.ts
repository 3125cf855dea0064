import pg from 'pg'
import type { Pipeline } from './pipeline.ts'
import type { Statement } from './statement.ts'

/**
 * True when a prepared statement was refused because it is out of date: its result would have another shape after a
 * migration (RevalidateCachedQuery), or the server does not have it any more (FetchPreparedStatement). It did not run.
 * Told by the routine's name: the sentences are translated.
 */
export const isStale = ({ error, named }: Pick<Statement, 'error' | 'named'>): boolean =>
  named !== undefined &&
  error instanceof pg.DatabaseError &&
  ((error.code === '0A000' && error.routine === 'RevalidateCachedQuery') ||
    (error.code === '26000' && error.routine === 'FetchPreparedStatement'))

/** Said by the server when an administrator or another session's crash ended this one: not this statement's doing. */
const innocent = new Set(['57P01', '57P02'])

const isBrokenPipe = (cause: unknown): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === 'EPIPE'

type Writes = Pick<Pipeline, 'head' | 'batches'>

/** True when the very write that carried the statement was refused because the server had closed its side before. */
export const wasRefused = ({ batch }: Statement, { batches }: Writes, cause: unknown): boolean =>
  isBrokenPipe(cause) && batch >= batches

/** Deaths of a tenant's connections so soon after each other have one reason. Milliseconds. */
const oneBlowMs = 500

/**
 * True when sending this statement on a connection that has died was no try of it: the connection refused it, or died of what
 * the statement's first one died of. That is so when it was open by then, and died right after; word of it may come when
 * the statement is on its way. Times are monotonic milliseconds.
 */
export const wasNoTry = (
  statement: Statement,
  life: { openedAt: number; diedAt: number },
  writes: Writes,
  cause: unknown,
): boolean => {
  const { lostAt } = statement
  if (wasRefused(statement, writes, cause)) return true
  return lostAt !== undefined && life.openedAt < lostAt && life.diedAt < lostAt + oneBlowMs
}

/** The statement that the server may have been at when the connection died: the oldest in flight, unless it was refused. */
export const mayHaveBegun = (writes: Writes, cause: unknown): Statement | undefined =>
  writes.head !== undefined && wasRefused(writes.head, writes, cause) ? undefined : writes.head

/**
 * True when a read that was in flight as its connection died may be tried again, once: no part of an answer has come, and
 * it is not what killed the connection. Of the oldest that is only known when the server has said so; those behind it had
 * not begun. A later write that broke the pipe has lost the server's last words, so then it gets the benefit of the doubt.
 */
export const mayRunAgain = (statement: Statement, begun: boolean, cause: unknown): boolean => {
  if (!statement.rescuable || statement.owner === undefined || statement.sent > 1) return false
  if (statement.rows.length > 0) return false
  if (!begun) return true
  return isBrokenPipe(cause) || (cause instanceof pg.DatabaseError && innocent.has(cause.code ?? ''))
}
