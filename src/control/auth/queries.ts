import type { MasterDb } from '../../master/master.ts'

/** A session as its own person sees it. */
export const findSession = async (db: MasterDb, sessionId: string) => {
  const row = await db
    .selectFrom('sessions')
    .select(['id', 'created_at', 'expires_at', 'address', 'user_agent'])
    .where('id', '=', sessionId)
    .executeTakeFirst()
  return (
    row && {
      id: row.id,
      createdAt: row.created_at.toISOString(),
      expiresAt: row.expires_at.toISOString(),
      address: row.address,
      userAgent: row.user_agent,
    }
  )
}
