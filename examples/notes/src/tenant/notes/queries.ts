import type { Transaction } from 'kysely'
import { newId } from '../../kernel/ids.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

const columns = ['id', 'text', 'words', 'created_by', 'created_at'] as const

/** Notes, newest first, beginning after the one with id `after`. */
export const listNotes = (db: TenantDb, { limit, after }: { limit: number; after: string | undefined }) =>
  db
    .selectFrom('notes')
    .select(columns)
    .$if(after !== undefined, (query) => query.where('id', '<', after ?? ''))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()

export type NoteRow = Awaited<ReturnType<typeof listNotes>>[number]

export const insertNote = (
  trx: Transaction<TenantTables>,
  note: { text: string; created_by: string },
): Promise<NoteRow> =>
  trx
    .insertInto('notes')
    .values({ id: newId(), ...note })
    .returning(columns)
    .executeTakeFirstOrThrow()
