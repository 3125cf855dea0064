import { sql } from 'kysely'
import { newId } from '../kernel/ids.ts'
import { eraseArchives } from '../master/audit-archives.ts'
import { writeMasterAudit } from '../master/audit-log.ts'
import { archiveAudit } from './archive-audit.ts'
import { type Context, tenantLock } from './context.ts'
import { eraseDatabase } from './erase-database.ts'
import { failOperation, operationStep, resumeOperation, succeedOperations } from './operations.ts'

/** Erases every deleted tenant whose grace is over. One that fails does not keep the others; then this throws the first error. */
export const purgeTenants = async (context: Context): Promise<void> => {
  await eraseArchives(context.master.db)
  const due = await context.master.db
    .selectFrom('tenants')
    .select('id')
    .where('status', '=', 'deleted')
    .where('purge_after', '<=', sql<Date>`now()`)
    .orderBy('purge_after')
    .execute()
  const errors: unknown[] = []
  for (const { id } of due) await purgeTenant(context, id).catch((error: unknown) => errors.push(error))
  if (errors.length > 0) throw errors[0]
}

/**
 * Erases one: keeps its audit log; gives up the deed and begins the certificate, which is the commit point; then the database, its roles and its
 * secret go; then everything that the master knows of the tenant, and the certificate is finished. Can be repeated from any
 * point. Does nothing while another process is at it, or when the tenant was restored in time.
 */
const purgeTenant = async (context: Context, tenantId: string): Promise<void> => {
  const lock = await context.locks.tryHold(tenantLock(tenantId))
  if (lock === undefined) return
  const { db } = context.master
  try {
    if (context.auditArchiveDays > 0) await archiveAudit(context, tenantId, context.auditArchiveDays)
    const databaseId = await giveUpDeed(context, tenantId)
    if (databaseId === false) return
    const operationId = await resumeOperation(db, 'purge', 'erase', { tenantId })
    try {
      if (databaseId !== null) await eraseDatabase(context, databaseId)
      await operationStep(db, operationId, 'forget')
      await forgetTenant(context, tenantId, databaseId)
    } catch (error) {
      await failOperation(context, operationId, error)
      throw error
    }
  } finally {
    await lock.release()
  }
}

/** The database that has to go, or had to before this was killed: null for none. False when there is nothing to purge. */
const giveUpDeed = (context: Context, tenantId: string): Promise<string | null | false> =>
  context.master.db.transaction().execute(async (trx) => {
    const tenant = await trx
      .selectFrom('tenants')
      .leftJoin('databases', 'databases.id', 'tenants.database_id')
      .leftJoin('clusters', 'clusters.id', 'databases.cluster_id')
      .select(['tenants.slug', 'tenants.name', 'tenants.created_at', 'tenants.deleted_at'])
      .leftJoin('audit_archives', 'audit_archives.tenant_id', 'tenants.id')
      .leftJoin('audit_checkpoints', 'audit_checkpoints.tenant_id', 'tenants.id')
      .select(['tenants.database_id', 'databases.name as database_name', 'clusters.name as cluster'])
      .select(['audit_archives.entries as audit_entries', 'audit_archives.erase_after as audit_kept_until'])
      .select('audit_checkpoints.hash as audit_hash')
      .where('tenants.id', '=', tenantId)
      .where('tenants.status', '=', 'deleted')
      .where('tenants.purge_after', '<=', sql<Date>`now()`)
      .forUpdate('tenants')
      .executeTakeFirst()
    if (tenant === undefined) return false
    const { database_id: databaseId, ...known } = tenant
    const begun = await trx
      .insertInto('erasures')
      .values({ id: newId(), tenant_id: tenantId, database_id: databaseId, ...known, finished_at: null })
      .onConflict((conflict) => conflict.column('tenant_id').doUpdateSet({ slug: known.slug }))
      .returning('database_id')
      .executeTakeFirstOrThrow()
    if (databaseId === null) return begun.database_id
    await trx.updateTable('tenants').set({ database_id: null }).where('id', '=', tenantId).execute()
    await trx
      .updateTable('databases')
      .set({ status: 'erasing', updated_at: sql<Date>`now()` })
      .where('id', '=', databaseId)
      .execute()
    return databaseId
  })

/** With its row go memberships, invitations, roles and policies. Throws while the database is still there. */
const forgetTenant = (context: Context, tenantId: string, databaseId: string | null): Promise<void> =>
  context.master.db.transaction().execute(async (trx) => {
    const left =
      databaseId === null
        ? undefined
        : await trx.selectFrom('databases').select('name').where('id', '=', databaseId).executeTakeFirst()
    if (left !== undefined) throw new Error(`database ${left.name} is being erased by another process`)
    await trx.deleteFrom('tenants').where('id', '=', tenantId).where('status', '=', 'deleted').execute()
    await trx
      .updateTable('erasures')
      .set({ finished_at: sql<Date>`now()` })
      .where('tenant_id', '=', tenantId)
      .execute()
    await writeMasterAudit(trx, {
      actor: { kind: 'system', id: null },
      action: 'tenant.purged',
      entity: { type: 'tenant', id: tenantId },
      tenantId,
    })
    await succeedOperations(trx, 'purge', { tenantId })
  })
