import { sql } from 'kysely'
import type { KeyRing } from '../kernel/crypto.ts'
import type { MasterDb } from './master.ts'
import { sealedFor } from './secrets.ts'

type Row = Readonly<{ id: string; sealed: Buffer }>
type DatabaseRow = Row & Parameters<typeof sealedFor.databaseSecret>[0]

/** A column of sealed values; every such table has an `id`. */
export type SealedColumn = Readonly<{
  table: string
  column: string
  idType: 'uuid' | 'text'
  /** What else the context is made of. */
  more: readonly string[]
  context: (row: Row) => string
}>

const columnOf = (
  table: string,
  column: string,
  context: (row: Row) => string,
  { idType = 'uuid', more = [] }: Partial<Pick<SealedColumn, 'idType' | 'more'>> = {},
): SealedColumn => ({ table, column, idType, more, context })

/**
 * Every column that holds values sealed under the master key, but for `installation.key_check`, which says which key that
 * is. A test compares them with the columns of the master, so that a rotation leaves none out.
 */
export const sealedColumns: readonly SealedColumn[] = [
  columnOf('signing_keys', 'private_key', ({ id }) => sealedFor.signingKey(id), { idType: 'text' }),
  columnOf('audit_keys', 'private_key', ({ id }) => sealedFor.auditKey(id), { idType: 'text' }),
  columnOf('audit_archive_parts', 'sealed', ({ id }) => sealedFor.auditArchive(id)),
  columnOf('clusters', 'provisioner', ({ id }) => sealedFor.provisioner(id)),
  columnOf('databases', 'secret', (row) => sealedFor.databaseSecret(row as DatabaseRow), {
    more: ['cluster_id', 'name', 'credential_version'],
  }),
  columnOf('sealed_payloads', 'sealed', ({ id }) => sealedFor.payload(id)),
  columnOf('idempotency_keys', 'answer', ({ id }) => sealedFor.answer(id)),
  columnOf('sessions', 'secret', ({ id }) => sealedFor.session(id)),
]

/** So many rows are locked at once, for a few milliseconds. */
const batchSize = 500

const isUnderAnother = ({ column }: SealedColumn, keyId: string) =>
  sql`substring(${sql.ref(column)} from 2 for 4) <> ${Buffer.from(keyId, 'hex')}`

/** How many values of the column are not sealed under this key. */
export const countUnderOtherKeys = async (
  db: MasterDb,
  sealed: SealedColumn,
  keyId: string,
): Promise<number> => {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from ${sql.table(sealed.table)} where ${isUnderAnother(sealed, keyId)}`.execute(
    db,
  )
  return rows[0]?.n ?? 0
}

export type ResealedBatch = Readonly<{
  resealed: number
  /** Ids of values that no known key opens. */
  stuck: readonly string[]
  /** Where the next batch begins; undefined at the column's end. */
  last: string | undefined
}>

/**
 * Seals the next values of the column, in the order of their ids, under the key of `box`. Rows that somebody has locked are
 * left for another pass: who never waits for a row while holding others is in nobody's way for long.
 */
export const resealBatch = (
  db: MasterDb,
  box: KeyRing,
  sealed: SealedColumn,
  after: string | undefined,
): Promise<ResealedBatch> =>
  db.transaction().execute(async (trx) => {
    const { table, column, idType, more, context } = sealed
    const type = sql.raw(idType)
    const beyond = after === undefined ? sql`` : sql`and id > ${after}::${type}`
    const { rows } = await sql<Row>`
      select ${sql.join(['id', ...more].map((name) => sql.ref(name)))}, ${sql.ref(column)} as sealed
        from ${sql.table(table)}
       where ${isUnderAnother(sealed, box.keyId)} ${beyond}
       order by id limit ${batchSize} for no key update skip locked`.execute(trx)
    const stuck: string[] = []
    const again: { id: string; value: Buffer }[] = []
    for (const row of rows) {
      try {
        const plain = box.open(row.sealed, context(row))
        again.push({ id: row.id, value: box.seal(plain, context(row)) })
      } catch {
        stuck.push(row.id)
      }
    }
    if (again.length > 0) {
      await sql`update ${sql.table(table)} as t set ${sql.ref(column)} = fresh.value
          from unnest(${again.map(({ id }) => id)}::${type}[], ${again.map(({ value }) => value)}::bytea[])
            as fresh(id, value) where t.id = fresh.id`.execute(trx)
    }
    return { resealed: again.length, stuck, last: rows.length === 0 ? undefined : rows.at(-1)?.id }
  })
