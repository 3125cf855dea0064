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

const sealedRows = `
  select s.position, encode(s.hash, 'hex') as hash, s.entry_id,
         case when a.id is not null then ${entryJson} end as entry
    from audit_seals s left join audit_log a on a.id = s.entry_id
   where s.position > $1 order by s.position limit ${entriesAtOnce}`

const addedRows = `
  select a.id from audit_log a, audit_chain c
   where a.seq <= c.sealed_seq
     and not exists (select from audit_seals s where s.entry_id = a.id)
     and not exists (select from audit_gaps g where a.seq between g.first_seq and g.last_seq)
   order by a.seq limit ${maxProblems}`

const unsealedRows = `
  select count(*)::int as n from audit_log a
   where not exists (select from audit_seals s where s.entry_id = a.id)`

/**
 * Computes every seal again and compares the chain with its anchor. Reads the log in pieces, so it may be long; `goOn` is
 * called between them and throws to stop.
 */
export const verifyChain = async (
  ask: Ask,
  { start, checkpoint }: Anchor,
  goOn: () => void = () => {},
): Promise<ChainReport> => {
  const problems: ChainProblem[] = []
  const report = (kind: ChainProblem['kind'], position: number | null, entryId: string | null): void => {
    if (problems.length < maxProblems) problems.push({ kind, position, entryId })
  }
  let head = start
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
    if (position === checkpoint?.position && row.hash !== checkpoint.hash) {
      report('rewritten', position, row.entry_id)
    }
    head = { position, hash: row.hash }
    verified += 1
  }
  for (;;) {
    const rows = (await ask(sealedRows, [String(head.position)])) as SealedRow[]
    let began = performance.now()
    for (const row of rows) {
      take(row)
      if (performance.now() - began < mostAtOnce) continue
      await nextTurn()
      began = performance.now()
    }
    if (rows.length < entriesAtOnce) break
    goOn()
  }
  if (checkpoint !== undefined && head.position < checkpoint.position) {
    report('cut', head.position + 1, null)
  }
  for (const { id } of (await ask(addedRows, [])) as { id: string }[]) report('added', null, id)
  const [rest] = (await ask(unsealedRows, [])) as { n: number }[]
  return { ok: problems.length === 0, verified, head, unsealed: rest?.n ?? 0, problems }
}
