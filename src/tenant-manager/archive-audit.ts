import type pg from 'pg'
import { type AuditEntry, entriesAtOnce, entryJson } from '../kernel/audit-entries.ts'
import { ownerRoleName } from '../kernel/ids.ts'
import { keepArchive } from '../master/audit-archives.ts'
import { findCheckpoint } from '../master/audit-checkpoints.ts'
import { sealTenant } from './audit-sealer.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { deliverOutbox } from './deliver-outbox.ts'
import { quoteName, sqlState } from './provisioner.ts'
import { BrokenChainError } from './seal-audit.ts'

type Row = { entry: AuditEntry; position: string | null; hash: string | null; seq: string }

/** The whole log in the order of an export. Nobody writes to it any more. */
async function* readPieces(client: pg.Client): AsyncGenerator<{ text: string; entries: number }> {
  const columns = `s.position, encode(s.hash, 'hex') as hash, a.seq, ${entryJson} as entry`
  const toPiece = (rows: readonly Row[]) => ({
    text: rows
      .map(({ entry, position, hash }) => {
        const place = { position: position === null ? null : Number(position), hash }
        return `${JSON.stringify({ ...entry, ...place })}\n`
      })
      .join(''),
    entries: rows.length,
  })
  const walk = async function* (text: string, next: (row: Row) => string) {
    for (let after: string | undefined = '-1'; after !== undefined; ) {
      const { rows }: { rows: Row[] } = await client.query<Row>(text, [after])
      if (rows.length > 0) yield toPiece(rows)
      const last: Row | undefined = rows.length < entriesAtOnce ? undefined : rows.at(-1)
      after = last && next(last)
    }
  }
  yield* walk(
    `select ${columns} from audit_seals s join audit_log a on a.id = s.entry_id
      where s.position > $1 order by s.position limit ${entriesAtOnce}`,
    ({ position }) => position ?? '',
  )
  yield* walk(
    `select null as position, null as hash, a.seq, ${entryJson} as entry from audit_log a
      where a.seq > $1 and not exists (select from audit_seals s where s.entry_id = a.id)
      order by a.seq limit ${entriesAtOnce}`,
    ({ seq }) => seq,
  )
}

/**
 * Keeps the audit log of a deleted tenant whose grace is over, before its database goes: told of everything, sealed to its
 * end, and in the master only sealed under the master key. Repeated, the last one counts. Does nothing for a tenant without a
 * database, or whose database is gone already.
 */
export const archiveAudit = async (context: Context, tenantId: string, days: number): Promise<void> => {
  const { db } = context.master
  const place = await db
    .selectFrom('tenants')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .select(['databases.name', 'databases.cluster_id', 'databases.schema_version'])
    .where('tenants.id', '=', tenantId)
    .where('tenants.status', '=', 'deleted')
    .executeTakeFirst()
  if (place === undefined) return
  if (place.schema_version < context.migrations.latest) {
    throw new Error(`database ${place.name} is not migrated yet, so its audit log cannot be kept`)
  }
  const cluster = await getCluster(db, context.box, place.cluster_id)
  try {
    await deliverOutbox(context, tenantId)
    // A log that somebody has changed is kept as it is.
    await sealTenant(context, tenantId).catch((error: unknown) => {
      if (!(error instanceof BrokenChainError)) throw error
    })
    await context.provisioner.use(
      cluster,
      async (client) => {
        await client.query(`set role ${quoteName(ownerRoleName(place.name))}`)
        await db.transaction().execute(async (trx) => {
          const sealed = await findCheckpoint(trx, tenantId)
          await keepArchive(trx, context.box, {
            ...{ tenantId, days, parts: readPieces(client) },
            ...{ checkpoint: sealed?.checkpoint ?? null, pruned: sealed?.pruned ?? null },
          })
        })
      },
      place.name,
    )
  } catch (error) {
    if (sqlState(error) !== '3D000') throw error
    context.log.error({ tenantId, database: place.name }, 'the database is gone, and its audit log with it')
  }
}
