import type pg from 'pg'
import type { Place } from '../kernel/audit-chain.ts'
import { ownerRoleName } from '../kernel/ids.ts'
import { findCheckpoint, keepPruned } from '../master/audit-checkpoints.ts'
import { sealable, signerOf } from './audit-sealer.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { inTransaction, quoteName } from './provisioner.ts'
import { type Sealable, sealerLock } from './seal-audit.ts'
import { verifyAudit } from './verify-audit.ts'

/** The last place before the first entry that is younger than `days`, as far as the chain is signed. */
const findEnd = async (client: pg.Client, days: number, signed: number): Promise<Place | undefined> => {
  const { rows } = await client.query<{ position: string; hash: string }>(
    `select position, encode(hash, 'hex') as hash from audit_seals
      where position <= $2 and position < coalesce((
        select min(s.position) from audit_seals s join audit_log a on a.id = s.entry_id
         where a.at >= now() - make_interval(days => $1)), 9223372036854775807)
      order by position desc limit 1`,
    [days, signed],
  )
  return rows[0] && { position: Number(rows[0].position), hash: rows[0].hash }
}

const removeUpTo = (client: pg.Client, owner: string, { position, hash }: Place): Promise<unknown> =>
  inTransaction(client, async () => {
    await client.query(`set local role ${quoteName(owner)}`)
    await client.query('select pg_advisory_xact_lock($1)', [sealerLock])
    await client.query("select set_config('freehold.pruning', 'on', true)")
    await client.query(
      `delete from audit_log a using audit_seals s where s.entry_id = a.id and s.position <= $1`,
      [position],
    )
    await client.query('delete from audit_seals where position <= $1', [position])
    await client.query("update audit_chain set pruned_position = $1, pruned_hash = decode($2, 'hex')", [
      position,
      hash,
    ])
  })

/**
 * Removes a tenant's entries that are older than `days`, once they are sealed and the whole log has been verified: what was
 * changed is not hidden. Where the log begins from then on is signed and kept in the master first; killed after that, the
 * next call removes the rest.
 */
const pruneOne = async (context: Context, target: Sealable, days: number): Promise<void> => {
  const { db } = context.master
  const { tenantId, name } = target
  const known = await findCheckpoint(db, tenantId)
  if (known === undefined) return
  const cluster = await getCluster(db, context.box, target.clusterId)
  const owner = ownerRoleName(name)
  const asOwner = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> =>
    context.provisioner.use(
      cluster,
      async (client) => {
        await client.query(`set role ${quoteName(owner)}`)
        return work(client)
      },
      name,
    )
  const end = await asOwner((client) => findEnd(client, days, Number(known.position)))
  if (end === undefined) return
  if (end.position > Number(known.pruned_position)) {
    const report = await verifyAudit(context, tenantId)
    if (report?.ok !== true) throw new Error('an audit log that was changed is not pruned')
    await keepPruned(db, await signerOf(context), tenantId, end)
  }
  await asOwner((client) => removeUpTo(client, owner, end))
}

/** Removes entries older than `days` from every tenant's audit log. One that fails does not keep the others. */
export const pruneAuditLogs = async (context: Context, days: number): Promise<void> => {
  for (const target of await sealable(context).execute()) {
    await pruneOne(context, target, days).catch((error: unknown) =>
      context.log.error({ tenantId: target.tenantId, err: error }, 'an audit log could not be pruned'),
    )
  }
}
