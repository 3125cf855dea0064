import { sql } from 'kysely'
import type { MasterTransaction } from '../../master/master.ts'

export type SystemUserChange = {
  name?: string
  serviceType?: string
  metadata?: Record<string, string>
  disabled?: boolean
}

/** Changes what is given; false when there is no such system user. */
export const changeSystemUser = async (
  trx: MasterTransaction,
  id: string,
  { name, serviceType, metadata, disabled }: SystemUserChange,
): Promise<boolean> => {
  const { numUpdatedRows } = await trx
    .updateTable('people')
    .set({
      updated_at: sql<Date>`now()`,
      ...(name === undefined ? {} : { first_name: name.trim() }),
      ...(disabled === undefined
        ? {}
        : { disabled_at: disabled ? sql<Date>`coalesce(disabled_at, now())` : null }),
    })
    .where('id', '=', id)
    .where('kind', '=', 'system')
    .executeTakeFirst()
  if (numUpdatedRows === 0n) return false
  if (serviceType !== undefined || metadata !== undefined) {
    await trx
      .updateTable('system_users')
      .set({
        ...(serviceType === undefined ? {} : { service_type: serviceType.trim() }),
        ...(metadata === undefined ? {} : { metadata }),
      })
      .where('id', '=', id)
      .execute()
  }
  return true
}
