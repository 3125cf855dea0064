import { sql } from 'kysely'
import type { Context } from './context.ts'

/** Each pass of the reconciler asks for so many, so that a large fleet is not told all at once. */
const atOnce = 100

/**
 * Asks for the rolls of tenants whose last one is a day old: each tenant's directory is then brought to what the master says,
 * whatever has happened to it.
 */
export const askRolls = async ({ master }: Context): Promise<void> => {
  await sql`
    with due as (
      select tenants.id from tenants left join directory_rolls on tenant_id = tenants.id
       where status in ('active', 'suspended') and database_id is not null
         and coalesce(asked_at, '-infinity') < now() - interval '1 day'
       order by asked_at nulls first limit ${atOnce}
    ), noted as (
      insert into directory_rolls (tenant_id, asked_at) select id, now() from due
      on conflict (tenant_id) do update set asked_at = excluded.asked_at
    )
    insert into tenant_outbox (tenant_id, kind, ref) select id, 'roll', id from due`.execute(master.db)
}
