import type pg from 'pg'
import { type Place, sealOf } from '../kernel/audit-chain.ts'
import { type AuditEntry, entriesAtOnce, entryJson } from '../kernel/audit-entries.ts'
import { ownerRoleName } from '../kernel/ids.ts'
import { findCheckpoint, keepCheckpoint, noteBroken, type Signer } from '../master/audit-checkpoints.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { inTransaction, quoteName } from './provisioner.ts'

/** A tenant's database whose audit log is looked at. */
export type Sealable = Readonly<{ tenantId: string; name: string; clusterId: string }>

/** The chain in the tenant's database is not the one whose head was signed: somebody has changed it. */
export class BrokenChainError extends Error {}

/** One sealer at a time in a tenant's database. */
export const sealerLock = 20_180_526
/**
 * A number is taken just before its transaction has an id, so a gap is kept for longer than that can last. After a day
 * also when ids have begun anew, in a database that was restored elsewhere.
 */
const gapSeconds = 60

type Chain = {
  sealed_seq: string
  position: string
  hash: string | null
  /** Every transaction before this one has ended. */
  ended_xid: string
}
type Candidate = { seq: string; entry: AuditEntry }

const readChain = async (client: pg.Client): Promise<Chain> => {
  const { rows } = await client.query<Chain>(`
    select c.sealed_seq, coalesce(s.position, c.pruned_position) as position,
           encode(coalesce(s.hash, c.pruned_hash), 'hex') as hash,
           pg_snapshot_xmin(pg_current_snapshot())::text as ended_xid
      from audit_chain c
      left join lateral (select position, hash from audit_seals order by position desc limit 1) s on true`)
  if (rows[0] === undefined) throw new BrokenChainError('the state of the chain is gone')
  return rows[0]
}

/** Throws when places are left out after this one: what is sealed onto that could never be proved. */
const mustGoOn = async (client: pg.Client, position: number): Promise<void> => {
  const { rows } = await client.query<{ ok: boolean }>(
    'select coalesce(max(position) - $1, 0) = count(*) as ok from audit_seals where position > $1',
    [position],
  )
  if (rows[0]?.ok !== true) throw new BrokenChainError(`the chain leaves out places after ${position}`)
}

/** Throws when the chain does not contain what was signed of it. */
const mustContain = async (client: pg.Client, place: Place | undefined): Promise<void> => {
  if (place === undefined) return
  const { rows } = await client.query<{ hash: string }>(
    `select encode(hash, 'hex') as hash from audit_seals where position = $1
     union all select encode(pruned_hash, 'hex') from audit_chain where pruned_position = $1`,
    [place.position],
  )
  if (!rows.some(({ hash }) => hash === place.hash)) {
    throw new BrokenChainError(`the chain has not at ${place.position} what was signed there`)
  }
}

/** What is to be sealed, in the order of writing: what is new, and what has appeared late. */
const readCandidates = async (client: pg.Client, sealedSeq: string): Promise<Candidate[]> => {
  const { rows } = await client.query<Candidate>(
    `select a.seq, ${entryJson} as entry from (
       select l.* from audit_gaps g join audit_log l on l.seq between g.first_seq and g.last_seq
       union all
       (select l.* from audit_log l where l.seq > $1 order by l.seq limit ${entriesAtOnce})
     ) a
     where not exists (select from audit_seals s where s.entry_id = a.id)
     order by a.seq limit ${entriesAtOnce}`,
    [sealedSeq],
  )
  return rows
}

const insertSeals = async (
  client: pg.Client,
  candidates: readonly Candidate[],
  from: Place,
): Promise<{ position: number; hash: string }> => {
  let { position, hash } = from
  const hashes: string[] = []
  for (const { entry } of candidates) {
    position += 1
    hash = sealOf(entry, position, hash)
    hashes.push(hash)
  }
  await client.query(
    `insert into audit_seals (position, entry_id, hash)
     select $1::bigint + n, id, decode(hash, 'hex')
       from unnest($2::uuid[], $3::text[]) with ordinality as u (id, hash, n)`,
    [from.position, candidates.map(({ entry }) => entry.id), hashes],
  )
  return { position, hash: hash ?? '' }
}

/** Remembers the numbers between those that are there, and how far it has come. */
const noteProgress = async (
  client: pg.Client,
  candidates: readonly Candidate[],
  sealedSeq: number,
): Promise<void> => {
  let last = sealedSeq
  for (const { seq } of candidates) {
    const next = Number(seq)
    if (next <= sealedSeq) continue
    if (next > last + 1) {
      await client.query('insert into audit_gaps (first_seq, last_seq) values ($1, $2)', [last + 1, next - 1])
    }
    last = next
  }
  if (last > sealedSeq) await client.query('update audit_chain set sealed_seq = $1', [last])
}

const forgetGaps = (client: pg.Client, endedXid: string) =>
  client.query(
    `delete from audit_gaps
      where (until_xid <= $1 and noticed_at < now() - make_interval(secs => ${gapSeconds}))
         or noticed_at < now() - interval '1 day'`,
    [endedXid],
  )

/** Seals one batch; answers the head of the chain, and whether there may be more. */
const sealBatch = (
  client: pg.Client,
  owner: string,
  findSigned: () => Promise<Place | undefined>,
): Promise<{ head: Place; more: boolean }> =>
  inTransaction(client, async () => {
    await client.query(`set local role ${quoteName(owner)}`)
    await client.query('select pg_advisory_xact_lock($1)', [sealerLock])
    const chain = await readChain(client)
    const signed = await findSigned()
    await mustContain(client, signed)
    if (signed !== undefined) await mustGoOn(client, signed.position)
    const before = { position: Number(chain.position), hash: chain.hash }
    const candidates = await readCandidates(client, chain.sealed_seq)
    const head = candidates.length === 0 ? before : await insertSeals(client, candidates, before)
    await noteProgress(client, candidates, Number(chain.sealed_seq))
    const more = candidates.length === entriesAtOnce
    // What has appeared in a gap is among the candidates; only then may the gap go.
    if (!more) await forgetGaps(client, chain.ended_xid)
    return { head, more }
  })

/**
 * Seals what is new in a tenant's audit log into its chain, and keeps the signed head in the master. Killed in between, the
 * next call goes on; two at once take turns. Throws BrokenChainError, and seals nothing, when the chain is not the one
 * whose head was signed before.
 */
export const sealAudit = async (context: Context, signer: Signer, target: Sealable): Promise<void> => {
  const { db } = context.master
  const { tenantId, name } = target
  const cluster = await getCluster(db, context.box, target.clusterId)
  let wasBroken = false
  const findSigned = async (): Promise<Place | undefined> => {
    const row = await findCheckpoint(db, tenantId)
    wasBroken = row?.broken_at != null
    return row && { position: Number(row.position), hash: row.hash }
  }
  const work = async (client: pg.Client): Promise<void> => {
    for (let more = true; more; ) {
      const sealed = await sealBatch(client, ownerRoleName(name), findSigned)
      const { position, hash } = sealed.head
      if (hash !== null) await keepCheckpoint(db, signer, tenantId, { position, hash })
      more = sealed.more
    }
  }
  try {
    await context.provisioner.use(cluster, work, name)
    if (wasBroken) await noteBroken(db, tenantId, false)
  } catch (error) {
    if (error instanceof BrokenChainError) await noteBroken(db, tenantId, true)
    throw error
  }
}
