import { type ExpressionBuilder, sql } from 'kysely'
import { readTime } from '../../http/times.ts'
import { type AuditEntry, entryJson } from '../../kernel/audit-entries.ts'
import type { AuditLogTable, TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'
import type { AuditFilter } from './schemas.ts'

/** An entry with its place in the chain, which it has once it is sealed. */
export type PlacedEntry = AuditEntry & { position: number | null; hash: string | null }

type Row = { entry: AuditEntry; position: string | null; hash: string | null }

export const toPlaced = ({ entry, position, hash }: Row): PlacedEntry => ({
  ...entry,
  position: position === null ? null : Number(position),
  hash,
})

/** The columns of `Row`, of entries `a` with their seals `s`. */
const placed = [
  sql<AuditEntry>`${sql.raw(entryJson)}`.as('entry'),
  sql<string | null>`s.position`.as('position'),
  sql<string | null>`encode(s.hash, 'hex')`.as('hash'),
] as const

type Aliases = TenantTables & { a: AuditLogTable }

/** What an entry `a` must be. Throws `validation_failed` for what is no time. */
const matching = (filter: AuditFilter) => {
  const { action, actorId, entityType, entityId, workspaceId } = filter
  const from = filter.from === undefined ? undefined : readTime(filter.from, 'from')
  const to = filter.to === undefined ? undefined : readTime(filter.to, 'to')
  return (eb: ExpressionBuilder<Aliases, 'a'>) =>
    eb.and([
      ...(action === undefined ? [] : [eb('a.action', '=', action)]),
      ...(actorId === undefined ? [] : [eb('a.actor_id', '=', actorId)]),
      ...(entityType === undefined ? [] : [eb('a.entity_type', '=', entityType)]),
      ...(entityId === undefined ? [] : [eb('a.entity_id', '=', entityId)]),
      ...(workspaceId === undefined ? [] : [eb('a.workspace_id', '=', workspaceId)]),
      ...(from === undefined ? [] : [eb('a.at', '>=', from)]),
      ...(to === undefined ? [] : [eb('a.at', '<', to)]),
    ])
}

/** Entries as they were written, newest first, and one more than `limit` when there are more. */
export const listEntries = async (
  db: TenantDb,
  { limit, after }: { limit: number; after: string | undefined },
  filter: AuditFilter,
): Promise<PlacedEntry[]> => {
  const rows = await db
    .selectFrom('audit_log as a')
    .leftJoin('audit_seals as s', 's.entry_id', 'a.id')
    .select(placed)
    .where(matching(filter))
    .$if(after !== undefined, (query) =>
      query.where('a.seq', '<', (eb) =>
        eb
          .selectFrom('audit_log as c')
          .select('c.seq')
          .where('c.id', '=', after ?? ''),
      ),
    )
    .orderBy('a.seq', 'desc')
    .limit(limit + 1)
    .execute()
  return rows.map(toPlaced)
}

/** Rows that are fetched from the server at once. */
const chunk = 500

/**
 * Every entry that matches: those that are sealed in the order of the chain, then the others. What is written or sealed
 * meanwhile is there once or not at all. Throws `validation_failed` at once.
 */
export const streamEntries = (db: TenantDb, filter: AuditFilter): AsyncGenerator<PlacedEntry> =>
  streamMatching(db, matching(filter))

async function* streamMatching(
  db: TenantDb,
  where: ReturnType<typeof matching>,
): AsyncGenerator<PlacedEntry> {
  const last = await db
    .selectFrom('audit_seals')
    .select('position')
    .orderBy('position', 'desc')
    .limit(1)
    .executeTakeFirst()
  const sealedTo = last?.position ?? '0'
  const sealed = db
    .selectFrom('audit_seals as s')
    .innerJoin('audit_log as a', 'a.id', 's.entry_id')
    .select(placed)
    .where('s.position', '<=', sealedTo)
    .where(where)
    .orderBy('s.position')
  for await (const row of sealed.stream(chunk)) yield toPlaced(row)
  const others = db
    .selectFrom('audit_log as a')
    .leftJoin('audit_seals as s', 's.entry_id', 'a.id')
    .select(placed)
    .where((eb) => eb.or([eb('s.position', 'is', null), eb('s.position', '>', sealedTo)]))
    .where(where)
    .orderBy('s.position', (order) => order.asc().nullsLast())
    .orderBy('a.seq')
  for await (const row of others.stream(chunk)) yield toPlaced(row)
}
