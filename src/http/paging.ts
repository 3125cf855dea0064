import { type TSchema, Type } from 'typebox'
import { AppError } from '../kernel/errors.ts'
import { isUuid } from '../kernel/ids.ts'
import { Nullable } from './schemas.ts'

const limit = Type.Integer({ minimum: 1, maximum: 100, default: 50 })
const cursor = (maxLength: number) =>
  Type.Optional(Type.String({ maxLength, description: 'nextCursor of the page before' }))

/** `?limit=` and `?cursor=` of every list. */
export const PageQuery = Type.Object({ limit, cursor: cursor(100) })

export const Page = <T extends TSchema>(item: T) =>
  Type.Object({ data: Type.Array(item), nextCursor: Nullable(Type.String()) })

const version = 'v1:'

const madeUp = (): AppError =>
  new AppError(
    'validation_failed',
    'The cursor is not one of this list in this order; start again without it.',
    {
      errors: [{ path: '/cursor', message: 'is not a cursor of this list' }],
    },
  )

/** The id after which a page begins, or undefined for the first page. Throws `validation_failed` for a made-up cursor. */
export const readCursor = (cursor: string | undefined): string | undefined => {
  if (cursor === undefined) return undefined
  const text = Buffer.from(cursor, 'base64url').toString()
  const id = text.startsWith(version) ? text.slice(version.length) : ''
  if (!isUuid(id)) throw madeUp()
  return id
}

/** A page of rows. */
export type Cut<T> = { data: T[]; nextCursor: string | null }

/** Cuts `limit + 1` rows to a page, with the cursor that `cursorOf` makes of its last row when there is more. */
const cut = <T>(rows: T[], limit: number, cursorOf: (last: T) => string): Cut<T> => {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const more = rows.length > limit && last !== undefined
  return { data, nextCursor: more ? Buffer.from(cursorOf(last)).toString('base64url') : null }
}

/** Cuts `limit + 1` rows, newest first by id, to a page with the cursor of the next one. */
export const toPage = <T extends { id: string }>(rows: T[], limit: number): Cut<T> =>
  cut(rows, limit, (last) => version + last.id)

/** A key to sort by, and with `-` before it the other way round. */
export type Sort<Key extends string> = Key | `-${Key}`

/**
 * `?limit=`, `?cursor=` and `?sort=` of a list that can be sorted by these keys. A name of 200 characters fits into its
 * cursors.
 */
export const SortedPageQuery = <Key extends string>(keys: readonly Key[], usual: Sort<Key>) => {
  const sorts = keys.flatMap((key): Sort<Key>[] => [key, `-${key}`])
  return Type.Object({
    limit,
    cursor: cursor(2000),
    sort: Type.Unsafe<Sort<Key>>({
      type: 'string',
      enum: sorts,
      default: usual,
      description: 'A leading hyphen turns the order around',
    }),
  })
}

/** Where a page of a sorted list begins: after the row with this value of the sort key and this id. */
export type SortedAfter = Readonly<{ value: string; id: string }>

/**
 * Reads a cursor of a list in this order; undefined for the first page. `isValue` says whether a row can have this value.
 * Throws `validation_failed` for one that was made up, or made in another order.
 */
export const readSortedCursor = (
  cursor: string | undefined,
  sort: string,
  isValue: (value: string) => boolean,
): SortedAfter | undefined => {
  if (cursor === undefined) return undefined
  let parts: unknown
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    throw madeUp()
  }
  const [order, value, id]: unknown[] = Array.isArray(parts) ? parts : []
  if (order !== sort || typeof value !== 'string' || typeof id !== 'string') throw madeUp()
  if (!isUuid(id) || !isValue(value)) throw madeUp()
  return { value, id }
}

/** Cuts `limit + 1` rows in this order to a page with the cursor of the next one. `keyOf` is a row's sort key. */
export const toSortedPage = <T extends { id: string }>(
  rows: T[],
  limit: number,
  sort: string,
  keyOf: (row: T) => string,
): Cut<T> => cut(rows, limit, (last) => JSON.stringify([sort, keyOf(last), last.id]))
