import { setImmediate as nextTurn } from 'node:timers/promises'
import canonicalize from 'canonicalize'
import { type AuditEntry, entriesAtOnce, entryJson } from './audit-entries.ts'
import { sha256 } from './crypto.ts'

/** A place in a tenant's chain of entries. Position 0 is before the first one. */
export type Place = Readonly<{ position: number; hash: string | null }>

/** JSON has no infinities, which jsonb can hold as numbers too big for us; the export has null for them as well. */
const canonical = (value: unknown): string => {
  try {
    return canonicalize(value) ?? ''
  } catch {
    return canonicalize(JSON.parse(JSON.stringify(value))) ?? ''
  }
}

/**
 * The hash of an entry at its place, as hex: SHA-256 over the canonical JSON (RFC 8785) of the entry, its position and the hash
 * of the entry before it. docs/verify-audit-log.ts does the same by other means.
 */
export const sealOf = (entry: AuditEntry, position: number, previous: string | null): string =>
  sha256(canonical({ v: 1, position, previous, entry })).toString('hex')

/** Runs a statement in the tenant's database. */
export type Ask = (text: string, values: readonly unknown[]) => Promise<readonly unknown[]>

export type ChainProblem = Readonly<{
  /**
   * `altered`: an entry, or its place, is not what was sealed. `missing`: it is gone. `added`: an entry that pretends to be
   * older than the last seal. `cut`: the end is gone. `rewritten`: the chain is whole, and not the one that was signed.
   */
  kind: 'altered' | 'missing' | 'added' | 'cut' | 'rewritten'
  position: number | null
  entryId: string | null
}>

export type ChainReport = Readonly<{
  ok: boolean
  /** Entries whose seals were computed again. */
  verified: number
  /** Where the chain ends now. */
  head: Place
  /** Entries that are not sealed yet: nothing is proved about these. */
  unsealed: number
  /** The first hundred. */
  problems: readonly ChainProblem[]
}>

/** What is known of a chain outside of the tenant's database: where it begins, since older entries were removed, and a signed place. */
export type Anchor = Readonly<{ start: Place; checkpoint: Place | undefined }>

type SealedRow = { position: string; hash: string; entry_id: string; entry: AuditEntry | null }

const maxProblems = 100
/** Milliseconds of hashing after which others have their turn: a log of large entries must not hold up a whole node. */
const mostAtOnce = 10
/** No id comes after it. */
const highestId = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/** Entries or seals that share what ought to be unique come together: between two pieces none is passed over. */
const sealedRows = `
  select s.position, encode(s.hash, 'hex') as hash, s.entry_id,
         case when a.id is not null then ${entryJson} end as entry
    from (select * from audit_seals where (position, entry_id) > ($1::bigint, $2::uuid)
           order by position, entry_id limit ${entriesAtOnce}) s
    left join audit_log a on a.id = s.entry_id
   order by s.position, s.entry_id`

/** Where the database itself says that its log begins. */
const ownStart = `select pruned_position as position, encode(pruned_hash, 'hex') as hash from audit_chain`

/** Without a seal though its number is of those that are sealed, or with one that lies before the beginning of the chain. */
const addedRows = `
  (select a.id from audit_log a, audit_chain c
    where (a.seq <= c.sealed_seq or a.seq is null)
      and not exists (select from audit_seals s where s.entry_id = a.id)
      and not exists (select from audit_gaps g where a.seq between g.first_seq and g.last_seq)
    order by a.seq limit ${maxProblems})
  union all
  (select entry_id from audit_seals where position <= $1 or position is null
    order by position limit ${maxProblems})`

const unsealedRows = `
  select count(*)::int as n from audit_log a
   where not exists (select from audit_seals s where s.entry_id = a.id)`

const verifyFrom = async (
  ask: Ask,
  { start, checkpoint }: Anchor,
  goOn: () => void,
): Promise<ChainReport> => {
  const problems: ChainProblem[] = []
  const report = (kind: ChainProblem['kind'], position: number | null, entryId: string | null): void => {
    if (problems.length < maxProblems) problems.push({ kind, position, entryId })
  }
  const [own] = (await ask(ownStart, [])) as { position: string; hash: string | null }[]
  if (own === undefined) report('missing', null, null)
  // Killed between the signature and the removal: what was to go is still there, and proved from where it begins.
  const isLeftOver = own !== undefined && Number(own.position) < start.position
  const first = isLeftOver ? { position: Number(own.position), hash: own.hash } : start
  let head: Place = first
  if (checkpoint?.position === start.position && checkpoint.hash !== start.hash) {
    report('rewritten', start.position, null)
  }
  let verified = 0
  const take = (row: SealedRow): void => {
    const position = Number(row.position)
    const gap = position !== head.position + 1
    if (gap) report('missing', head.position + 1, null)
    if (row.entry === null) report('missing', position, row.entry_id)
    // After a gap the hash before is not known, and the gap is reported.
    else if (!gap && sealOf(row.entry, position, head.hash) !== row.hash) {
      report('altered', position, row.entry_id)
    }
    if ([start, checkpoint].some((known) => position === known?.position && row.hash !== known.hash)) {
      report('rewritten', position, row.entry_id)
    }
    head = { position, hash: row.hash }
    verified += 1
  }
  for (let after: readonly string[] = [String(first.position), highestId]; ; ) {
    const rows = (await ask(sealedRows, after)) as SealedRow[]
    let began = performance.now()
    for (const row of rows) {
      take(row)
      if (performance.now() - began < mostAtOnce) continue
      await nextTurn()
      began = performance.now()
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < entriesAtOnce) break
    after = [last.position, last.entry_id]
    goOn()
  }
  if (checkpoint !== undefined && head.position < checkpoint.position) {
    report('cut', head.position + 1, null)
  }
  for (const { id } of (await ask(addedRows, [String(first.position)])) as { id: string }[])
    report('added', null, id)
  const [rest] = (await ask(unsealedRows, [])) as { n: number }[]
  return { ok: problems.length === 0, verified, head, unsealed: rest?.n ?? 0, problems }
}

/**
 * Computes every seal again and compares the chain with its anchor. Reads the log in pieces, so it may be long; `goOn` is
 * called between them and throws to stop. Entries that are removed meanwhile because their time is over are not missed: the
 * anchor says so by then, and what is left is verified from there.
 */
export const verifyChain = async (
  ask: Ask,
  findAnchor: () => Promise<Anchor>,
  goOn: () => void = () => {},
): Promise<ChainReport> => {
  for (let anchor = await findAnchor(); ; ) {
    const report = await verifyFrom(ask, anchor, goOn)
    if (report.ok) return report
    const now = await findAnchor()
    if (now.start.position === anchor.start.position) return report
    anchor = now
  }
}
