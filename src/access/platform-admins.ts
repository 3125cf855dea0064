import { sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import type { MasterTransaction } from '../master/master.ts'

const admins = (trx: MasterTransaction) =>
  trx
    .selectFrom('people')
    .select('id')
    .where('platform_admin', '=', true)
    .where('disabled_at', 'is', null)
    .limit(1)

/**
 * Call it first in every transaction that makes, removes, disables or enables platform admins: until it ends nobody else
 * does, so what is counted stays true. The transaction must be a plain one (read committed). Throws `forbidden` when
 * `by` is no platform admin any more, because another transaction came first.
 */
export const lockPlatformAdmins = async (trx: MasterTransaction, by: string): Promise<void> => {
  await sql`select pg_advisory_xact_lock(hashtextextended('freehold platform admins', 0))`.execute(trx)
  if ((await admins(trx).where('id', '=', by).executeTakeFirst()) === undefined) {
    throw new AppError('forbidden', 'You are no platform admin any more.')
  }
}

/** Throws `last_admin` when nobody but this person is a platform admin who can sign in. After `lockPlatformAdmins`. */
export const mustLeaveAdmin = async (trx: MasterTransaction, personId: string): Promise<void> => {
  if ((await admins(trx).where('id', '<>', personId).executeTakeFirst()) === undefined) {
    throw new AppError('last_admin', 'This is the last platform admin; make somebody else one first.')
  }
}
