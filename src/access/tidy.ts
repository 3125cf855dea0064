import { sql } from 'kysely'
import type { MasterDb } from '../master/master.ts'
import { dropOldSealed } from '../master/sealed-payloads.ts'
import { dropExpiredSystemSecrets } from './system-users.ts'

/** Longer than any job that was kept sealed is tried. */
const payloadDays = 7
/** So long a token of an ended session is still told apart from nonsense. */
const endedSessionDays = 90
/** So long a link says what became of its invitation. */
const endedInvitationDays = 30

/** Clears away what has no use any more: dead links and codes, limits that count nothing, payloads of jobs that were given up, answers to keys that have expired, sessions and invitations that ended long ago. */
export const tidyAccess = async (db: MasterDb): Promise<void> => {
  await db.deleteFrom('mailed_tokens').where('expires_at', '<', sql<Date>`now()`).execute()
  await db.deleteFrom('sign_in_codes').where('expires_at', '<', sql<Date>`now()`).execute()
  await db.deleteFrom('spent_sign_ins').where('expires_at', '<', sql<Date>`now()`).execute()
  await db.deleteFrom('rate_limits').where('full_at', '<', sql<Date>`now()`).execute()
  await db.deleteFrom('request_counts').where('minute', '<', sql<Date>`now() - interval '1 hour'`).execute()
  await db.deleteFrom('tenant_entries').where('expires_at', '<', sql<Date>`now()`).execute()
  // With the tokens that later mails replaced. Until then a link says what became of its invitation.
  await db
    .deleteFrom('invitations')
    .where(
      sql<Date>`coalesce(closed_at, expires_at)`,
      '<',
      sql<Date>`now() - make_interval(days => ${endedInvitationDays})`,
    )
    .execute()
  await db.deleteFrom('idempotency_keys').where('expires_at', '<', sql<Date>`now()`).execute()
  await dropExpiredSystemSecrets(db)
  await dropOldSealed(db, payloadDays)
  await db
    .deleteFrom('sessions')
    .where(
      sql<Date>`least(ended_at, expires_at)`,
      '<',
      sql<Date>`now() - make_interval(days => ${endedSessionDays})`,
    )
    .execute()
}
