import { sql } from 'kysely'
import type { Place } from '../kernel/audit-chain.ts'
import { signJws } from '../kernel/jws.ts'
import type { AuditKey } from './audit-keys.ts'
import type { MasterDb } from './master.ts'

/** The `typ` of what is signed about a tenant's audit log. */
export const checkpointType = 'freehold-audit-checkpoint'
export const prunedType = 'freehold-audit-pruned'

export type Checkpoint = NonNullable<Awaited<ReturnType<typeof findCheckpoint>>>

/** How far the tenant's audit log is sealed; undefined when nothing is yet. */
export const findCheckpoint = (db: MasterDb, tenantId: string) =>
  db.selectFrom('audit_checkpoints').selectAll().where('tenant_id', '=', tenantId).executeTakeFirst()

/** Where the chain begins and what it must lead to. */
export const anchorOf = (row: Checkpoint | undefined): { start: Place; checkpoint: Place | undefined } =>
  row === undefined
    ? { start: { position: 0, hash: null }, checkpoint: undefined }
    : {
        start: { position: Number(row.pruned_position), hash: row.pruned_hash },
        checkpoint: { position: Number(row.position), hash: row.hash },
      }

export type Signer = Readonly<{ key: AuditKey; installationId: string }>

/** Signs a place of a tenant's chain. */
export const signPlace = (
  { key, installationId }: Signer,
  typ: typeof checkpointType | typeof prunedType,
  tenantId: string,
  { position, hash }: Place,
): string =>
  signJws(key, typ, {
    installation: installationId,
    tenant: tenantId,
    ...{ position, hash, at: new Date().toISOString() },
  })

/** Keeps the head of a tenant's chain, signed. A place before the one that is kept changes nothing. */
export const keepCheckpoint = async (
  db: MasterDb,
  signer: Signer,
  tenantId: string,
  head: { position: number; hash: string },
): Promise<void> => {
  const values = {
    ...{ position: String(head.position), hash: head.hash },
    checkpoint: signPlace(signer, checkpointType, tenantId, head),
  }
  await db
    .insertInto('audit_checkpoints')
    .values({ tenant_id: tenantId, ...values })
    .onConflict((conflict) =>
      conflict
        .column('tenant_id')
        .doUpdateSet({ ...values, updated_at: sql<Date>`now()` })
        .where('audit_checkpoints.position', '<', String(head.position)),
    )
    .execute()
}

/** Keeps where a tenant's log begins from now on, signed. */
export const keepPruned = async (
  db: MasterDb,
  signer: Signer,
  tenantId: string,
  place: Place,
): Promise<void> => {
  await db
    .updateTable('audit_checkpoints')
    .set({
      pruned_position: String(place.position),
      pruned_hash: place.hash,
      pruned: signPlace(signer, prunedType, tenantId, place),
    })
    .where('tenant_id', '=', tenantId)
    .execute()
}

/** Notes that the chain in the tenant's database does not go on from the checkpoint, or that it does again. */
export const noteBroken = async (db: MasterDb, tenantId: string, broken: boolean): Promise<void> => {
  await db
    .updateTable('audit_checkpoints')
    .set({ broken_at: broken ? sql<Date>`now()` : null })
    .where('tenant_id', '=', tenantId)
    .where('broken_at', broken ? 'is' : 'is not', null)
    .execute()
}
