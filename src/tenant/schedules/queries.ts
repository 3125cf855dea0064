import { type Kysely, sql, type Transaction } from 'kysely'
import { newId } from '../../kernel/ids.ts'
import { jsonb } from '../jobs/queries.ts'
import type { TenantTables } from '../tables.ts'

type Db = Kysely<TenantTables>
type Trx = Transaction<TenantTables>

const columns = [
  ...(['id', 'name', 'type', 'payload', 'cron', 'time_zone', 'enabled', 'next_at', 'last_at'] as const),
  ...(['last_job_id', 'created_by', 'created_at', 'updated_at'] as const),
] as const

export type ScheduleRow = NonNullable<Awaited<ReturnType<typeof findSchedule>>>

/** What people decide of a schedule, and the next time that follows from it. */
export type ScheduleValues = {
  name: string
  type: string
  payload: unknown
  cron: string
  time_zone: string
  enabled: boolean
  next_at: Date | null
}

export const findSchedule = (db: Db, id: string) =>
  db.selectFrom('job_schedules').select(columns).where('id', '=', id).executeTakeFirst()

/** The schedule, which nobody else changes until the transaction ends. */
export const lockSchedule = (trx: Trx, id: string) =>
  trx.selectFrom('job_schedules').select(columns).where('id', '=', id).forUpdate().executeTakeFirst()

/** Schedules, newest first, beginning after the one with id `after`. */
export const listSchedules = (db: Db, { limit, after }: { limit: number; after: string | undefined }) =>
  db
    .selectFrom('job_schedules')
    .select(columns)
    .$if(after !== undefined, (query) => query.where('id', '<', after ?? ''))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()

export const insertSchedule = (trx: Trx, { payload, ...values }: ScheduleValues, createdBy: string) =>
  trx
    .insertInto('job_schedules')
    .values({ id: newId(), ...values, payload: jsonb(payload), created_by: createdBy })
    .returning(columns)
    .executeTakeFirstOrThrow()

export const updateSchedule = (trx: Trx, id: string, { payload, ...values }: ScheduleValues) =>
  trx
    .updateTable('job_schedules')
    .set({ ...values, payload: jsonb(payload), updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirstOrThrow()

/** True when there was such a schedule. Its jobs stay. */
export const deleteSchedule = async (trx: Trx, id: string): Promise<boolean> => {
  const { numDeletedRows } = await trx
    .deleteFrom('job_schedules')
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}
