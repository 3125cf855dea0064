import { gunzipSync, gzipSync } from 'node:zlib'
import { sql } from 'kysely'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { sealedFor } from './secrets.ts'

export type NewArchive = Readonly<{
  tenantId: string
  /** NDJSON, a line for each entry. */
  parts: AsyncIterable<{ text: string; entries: number }>
  checkpoint: string | null
  pruned: string | null
  days: number
}>

/** Keeps the audit log of a tenant that is about to be erased, in place of one kept before. */
export const keepArchive = async (
  trx: MasterTransaction,
  box: SecretBox,
  { tenantId, parts, checkpoint, pruned, days }: NewArchive,
): Promise<void> => {
  await trx.deleteFrom('audit_archives').where('tenant_id', '=', tenantId).execute()
  await trx
    .insertInto('audit_archives')
    .values({
      ...{ tenant_id: tenantId, entries: '0', checkpoint, pruned },
      erase_after: sql<Date>`now() + make_interval(days => ${days})`,
    })
    .execute()
  let part = 0
  let entries = 0
  for await (const piece of parts) {
    const id = newId()
    const sealed = box.seal(gzipSync(piece.text), sealedFor.auditArchive(id))
    await trx.insertInto('audit_archive_parts').values({ id, tenant_id: tenantId, part, sealed }).execute()
    part += 1
    entries += piece.entries
  }
  await trx
    .updateTable('audit_archives')
    .set({ entries: String(entries) })
    .where('tenant_id', '=', tenantId)
    .execute()
}

/** What is known of a kept audit log, or undefined. */
export const findArchive = (db: MasterDb, tenantId: string) =>
  db.selectFrom('audit_archives').selectAll().where('tenant_id', '=', tenantId).executeTakeFirst()

/** The kept audit log, a piece of NDJSON at a time. */
export async function* readArchive(db: MasterDb, box: SecretBox, tenantId: string): AsyncGenerator<string> {
  for (let part = 0; ; part += 1) {
    const row = await db
      .selectFrom('audit_archive_parts')
      .select(['id', 'sealed'])
      .where('tenant_id', '=', tenantId)
      .where('part', '=', part)
      .executeTakeFirst()
    if (row === undefined) return
    yield gunzipSync(box.open(row.sealed, sealedFor.auditArchive(row.id))).toString()
  }
}

/** Erases the archives whose time is over, with the checkpoints of their tenants, and those of tenants that were restored. */
export const eraseArchives = (db: MasterDb): Promise<void> =>
  db.transaction().execute(async (trx) => {
    const over = await trx
      .deleteFrom('audit_archives')
      .where('erase_after', '<=', sql<Date>`now()`)
      .returning('tenant_id')
      .execute()
    for (const { tenant_id } of over) {
      await trx.deleteFrom('audit_checkpoints').where('tenant_id', '=', tenant_id).execute()
    }
    await trx
      .deleteFrom('audit_archives')
      .using('tenants')
      .whereRef('tenants.id', '=', 'audit_archives.tenant_id')
      .where('tenants.status', '<>', 'deleted')
      .execute()
  })
