import { type RawBuilder, sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'

/** `?archived=` of lists: `false` leaves archived ones out, `true` shows only them, `all` both. */
export type ArchivedFilter = 'true' | 'false' | 'all'

type Change = { archived?: boolean | undefined } & Record<string, unknown>

/**
 * Throws `conflict` for a change of something archived that does not take it out of the archive. Archiving it again changes
 * nothing.
 */
export const mustBeOpen = (what: string, archivedAt: Date | null, { archived, ...rest }: Change): void => {
  const changesMore = Object.values(rest).some((value) => value !== undefined)
  if (archivedAt === null || archived === false || !changesMore) return
  throw new AppError(
    'conflict',
    `The ${what} is archived: nothing in it can be changed. Take it out of the archive first with PATCH {"archived": false}.`,
  )
}

/** The time of archiving after a change; archived twice it stays the first. */
export const archivedAt = (archived: boolean): RawBuilder<Date | null> =>
  archived ? sql<Date>`coalesce(archived_at, clock_timestamp())` : sql<null>`null`

/** What an audit entry calls a change of something that is archived or not. */
export const changeName = (before: Date | null, after: Date | null): 'archived' | 'unarchived' | 'updated' =>
  (before === null) === (after === null) ? 'updated' : after === null ? 'unarchived' : 'archived'
