import { sql } from 'kysely'
import { deviceName } from '../../access/device-name.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { findPerson, type Person } from '../../master/people.ts'

const liveSessions = (db: MasterDb) =>
  db
    .selectFrom('sessions')
    .select([
      'id',
      'created_at',
      'last_used_at',
      'authenticated_at',
      'amr',
      'address',
      'user_agent',
      // Whichever comes first, if it is not used again.
      sql<Date>`least(expires_at, idle_expires_at)`.as('ends_at'),
    ])
    .where('ended_at', 'is', null)
    .where('expires_at', '>', sql<Date>`now()`)
    .where('idle_expires_at', '>', sql<Date>`now()`)

type SessionRow = Awaited<ReturnType<ReturnType<typeof liveSessions>['executeTakeFirstOrThrow']>>

const toView = (row: SessionRow) => ({
  id: row.id,
  createdAt: row.created_at.toISOString(),
  lastUsedAt: row.last_used_at.toISOString(),
  expiresAt: row.ends_at.toISOString(),
  authenticatedAt: row.authenticated_at.toISOString(),
  amr: row.amr,
  device: deviceName(row.user_agent),
  address: row.address,
  userAgent: row.user_agent,
})

/** A live session as its own person sees it. */
export const findSession = async (db: MasterDb, sessionId: string) => {
  const row = await liveSessions(db).where('id', '=', sessionId).executeTakeFirst()
  return row && toView(row)
}

/** A person's live sessions, newest first, and one more than `limit` when there are more. */
export const listSessions = async (
  db: MasterDb,
  personId: string,
  page: { limit: number; after: string | undefined },
) => {
  const rows = await liveSessions(db)
    .where('person_id', '=', personId)
    .$if(page.after !== undefined, (query) => query.where('id', '<', page.after ?? ''))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows.map(toView)
}

/**
 * True when the person is not disabled and still has this password; until the transaction ends nobody can change that,
 * so a session that is started now can't slip past a change that ends all of them.
 */
export const lockUnchangedPerson = async (
  trx: MasterTransaction,
  personId: string,
  passwordHash: string,
): Promise<boolean> => {
  const row = await trx
    .selectFrom('people')
    .select('id')
    .where('id', '=', personId)
    .where('password_hash', '=', passwordHash)
    .where('disabled_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst()
  return row !== undefined
}

export const setPasswordHash = async (
  trx: MasterTransaction,
  personId: string,
  passwordHash: string,
): Promise<void> => {
  await trx
    .updateTable('people')
    .set({ password_hash: passwordHash, updated_at: sql<Date>`now()` })
    .where('id', '=', personId)
    .execute()
}

/** Notes that the person has proved this address; false when it is not theirs any more, or they are disabled. */
export const verifyEmailOf = async (
  trx: MasterTransaction,
  personId: string,
  email: string,
): Promise<boolean> => {
  const { numUpdatedRows } = await trx
    .updateTable('people')
    .set({
      email_verified_at: sql<Date>`coalesce(email_verified_at, now())`,
      updated_at: sql<Date>`now()`,
    })
    .where('id', '=', personId)
    .where('email', '=', email)
    .where('disabled_at', 'is', null)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** Changes a person's names; what is undefined stays. */
export const renamePerson = async (
  trx: MasterTransaction,
  personId: string,
  names: { firstName: string | undefined; lastName: string | null | undefined },
): Promise<Person | undefined> => {
  await trx
    .updateTable('people')
    .set({
      ...(names.firstName === undefined ? {} : { first_name: names.firstName.trim() }),
      ...(names.lastName === undefined ? {} : { last_name: names.lastName?.trim() ?? null }),
      updated_at: sql<Date>`now()`,
    })
    .where('id', '=', personId)
    .execute()
  return findPerson(trx, personId)
}
