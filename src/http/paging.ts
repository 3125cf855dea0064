import { type TSchema, Type } from 'typebox'
import { AppError } from '../kernel/errors.ts'
import { isUuid } from '../kernel/ids.ts'
import { Nullable } from './schemas.ts'

/** `?limit=` and `?cursor=` of every list. */
export const PageQuery = Type.Object({
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 50 }),
  cursor: Type.Optional(Type.String({ maxLength: 100, description: 'nextCursor of the page before' })),
})

export const Page = <T extends TSchema>(item: T) =>
  Type.Object({ data: Type.Array(item), nextCursor: Nullable(Type.String()) })

const version = 'v1:'

/** The id after which a page begins, or undefined for the first page. Throws `validation_failed` for a made-up cursor. */
export const readCursor = (cursor: string | undefined): string | undefined => {
  if (cursor === undefined) return undefined
  const text = Buffer.from(cursor, 'base64url').toString()
  const id = text.startsWith(version) ? text.slice(version.length) : ''
  if (!isUuid(id)) {
    throw new AppError('validation_failed', 'The cursor is not one of ours; start again without it.', {
      errors: [{ path: '/cursor', message: 'is not a cursor of this list' }],
    })
  }
  return id
}

/** Cuts `limit + 1` rows, newest first by id, to a page with the cursor of the next one. */
export const toPage = <T extends { id: string }>(
  rows: T[],
  limit: number,
): { data: T[]; nextCursor: string | null } => {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const more = rows.length > limit && last !== undefined
  return { data, nextCursor: more ? Buffer.from(version + last.id).toString('base64url') : null }
}
