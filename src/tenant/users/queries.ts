import type { Kysely } from 'kysely'
import type { TenantTables } from '../tables.ts'

/**
 * The id in the directory of somebody who is named by it, or by the id of their account, which is the `userId` of
 * `/api/members`. One is never somebody else's other. They stay there until the transaction ends.
 */
export const findUserId = async (db: Kysely<TenantTables>, id: string): Promise<string | undefined> => {
  const row = await db
    .selectFrom('users')
    .select('id')
    .where((w) => w.or([w('id', '=', id), w('person_id', '=', id)]))
    .forKeyShare()
    .executeTakeFirst()
  return row?.id
}
