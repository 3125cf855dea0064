import { sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import type { MasterTransaction } from '../master/master.ts'

/** So long a platform admin may work in a tenant of which they are no member, whatever they refresh meanwhile. */
export const entryMinutes = 60

/**
 * Lets a platform admin into a tenant for `entryMinutes` from now, and answers until when; entered again, the time begins
 * anew. Until the transaction ends they stay a platform admin: call it before anything that locks their session. Throws
 * `forbidden` when they are none any more.
 */
export const enterTenant = async (
  trx: MasterTransaction,
  entry: { tenantId: string; personId: string; reason: string },
): Promise<Date> => {
  const admin = await trx
    .selectFrom('people')
    .select('id')
    .where('id', '=', entry.personId)
    .where('platform_admin', '=', true)
    .where('disabled_at', 'is', null)
    .forShare()
    .executeTakeFirst()
  if (admin === undefined) throw new AppError('forbidden', 'You are no platform admin any more.')
  const expires_at = sql<Date>`now() + make_interval(mins => ${entryMinutes})`
  const row = await trx
    .insertInto('tenant_entries')
    .values({ tenant_id: entry.tenantId, person_id: entry.personId, reason: entry.reason, expires_at })
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'person_id'])
        .doUpdateSet({ reason: entry.reason, entered_at: sql<Date>`now()`, expires_at }),
    )
    .returning('expires_at')
    .executeTakeFirstOrThrow()
  return row.expires_at
}
