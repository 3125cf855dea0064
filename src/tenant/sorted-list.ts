import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely'
import { type Cut, readSortedCursor, type Sort, toSortedPage } from '../http/paging.ts'

/** What a list can be sorted by: an expression of SQL that is never null, and what it is made of in a row. */
export type SortKey<Row> = Readonly<{
  by: RawBuilder<unknown>
  /** The value in a cursor as an expression that is compared with `by`. */
  at: (value: string) => RawBuilder<unknown>
  of: (row: Row) => string
  isValue: (value: string) => boolean
}>

/** Sorts by text in any case; rows without it come as if it were empty. */
export const byText = <Row>(column: string, of: (row: Row) => string | null): SortKey<Row> => ({
  by: sql`coalesce(lower(${sql.ref(column)}), '')`,
  at: (value) => sql`lower(${value}::text)`,
  of: (row) => of(row) ?? '',
  isValue: () => true,
})

/** As a row shows it: a day that its month has not comes back as another one. The years 0 and 10000 are none for Postgres. */
const isTime = (value: string): boolean => {
  const time = new Date(value)
  return value.length === 24 && time.getTime() >= 0 && time.toISOString() === value
}

/** Sorts by a time in milliseconds, as `timestamptz(3)` keeps it. */
export const byTime = <Row>(column: string, of: (row: Row) => Date): SortKey<Row> => ({
  by: sql.ref(column),
  at: (value) => sql`${value}::timestamptz`,
  of: (row) => of(row).toISOString(),
  isValue: isTime,
})

/** What a request asks of a sorted list. */
export type Asked<Key extends string> = { limit: number; cursor?: string | undefined; sort: Sort<Key> }

const keyOf = <Key extends string>(sort: Sort<Key>): Key => sort.replace(/^-/, '') as Key

/**
 * One page of what `query` finds, in the order that was asked for. Rows that are there from the first page to the last, and
 * keep their sort key, are on exactly one of them, whatever is added or removed meanwhile: the id decides among equals.
 * Throws `validation_failed` for a cursor of another list or order.
 */
export const sortedPage = async <DB, Tables extends keyof DB, Row extends { id: string }, Key extends string>(
  query: SelectQueryBuilder<DB, Tables, Row>,
  id: string,
  keys: Readonly<Record<Key, SortKey<Row>>>,
  { limit, cursor, sort }: Asked<Key>,
): Promise<Cut<Row>> => {
  const key = keys[keyOf(sort)]
  const after = readSortedCursor(cursor, sort, key.isValue)
  const descending = sort.startsWith('-')
  const [direction, beyond] = descending ? (['desc', sql`<`] as const) : (['asc', sql`>`] as const)
  const from =
    after === undefined
      ? query
      : query.where(
          sql<boolean>`(${key.by}, ${sql.ref(id)}) ${beyond} (${key.at(after.value)}, ${after.id}::uuid)`,
        )
  const rows = await from
    .orderBy(key.by, direction)
    .orderBy(sql.ref(id), direction)
    .limit(limit + 1)
    .execute()
  return toSortedPage(rows as Row[], limit, sort, key.of)
}
