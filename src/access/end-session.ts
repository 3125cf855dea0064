import { sql } from 'kysely'
import type { MasterTransaction } from '../master/master.ts'

export type EndReason =
  | 'logout'
  | 'reuse'
  | 'disabled'
  | 'revoked'
  | 'password_changed'
  | 'password_reset'
  | 'taken_over'

const liveSessions = (trx: MasterTransaction, reason: EndReason) =>
  trx
    .updateTable('sessions')
    .set({ ended_at: sql<Date>`now()`, end_reason: reason })
    .where('ended_at', 'is', null)

/**
 * Ends a session; every node refuses its tokens as soon as it hears. Answers whether it was this call that ended it.
 * With `personId` only that person's session is ended.
 */
export const endSession = async (
  trx: MasterTransaction,
  sessionId: string,
  reason: EndReason,
  personId?: string,
): Promise<boolean> => {
  const { numUpdatedRows } = await liveSessions(trx, reason)
    .where('id', '=', sessionId)
    .$if(personId !== undefined, (query) => query.where('person_id', '=', personId ?? ''))
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** Ends every session of a person, but for `except`. Answers how many it ended. */
export const endSessionsOf = async (
  trx: MasterTransaction,
  personId: string,
  reason: EndReason,
  except?: string,
): Promise<number> => {
  const { numUpdatedRows } = await liveSessions(trx, reason)
    .where('person_id', '=', personId)
    .$if(except !== undefined, (query) => query.where('id', '<>', except ?? ''))
    .executeTakeFirst()
  return Number(numUpdatedRows)
}
