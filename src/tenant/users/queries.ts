import { type Kysely, sql, type Transaction } from 'kysely'
import { containing } from '../../kernel/containing.ts'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { violated } from '../constraints.ts'
import { type Asked, byText, byTime, type SortKey, sortedPage } from '../sorted-list.ts'
import type { TenantTables, UsersTable } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'

type Trx = Transaction<TenantTables>

const columns = [
  'users.id',
  'users.person_id',
  'users.kind',
  'users.status',
  'users.email',
  'users.first_name',
  'users.last_name',
  'users.created_by',
  'users.created_at',
  'users.updated_at',
] as const

const users = (db: Kysely<TenantTables>) => db.selectFrom('users').select(columns)

export type UserRow = Awaited<ReturnType<ReturnType<typeof users>['executeTakeFirstOrThrow']>>

export const userSorts = ['email', 'firstName', 'lastName', 'createdAt', 'updatedAt'] as const
type Key = (typeof userSorts)[number]

const sorts: Record<Key, SortKey<UserRow>> = {
  email: byText('users.email', (row) => row.email),
  firstName: byText('users.first_name', (row) => row.first_name),
  lastName: byText('users.last_name', (row) => row.last_name),
  createdAt: byTime('users.created_at', (row) => row.created_at),
  updatedAt: byTime('users.updated_at', (row) => row.updated_at),
}

export type UserFilter = {
  q?: string | undefined
  email?: string | undefined
  firstName?: string | undefined
  lastName?: string | undefined
  createdBy?: string | undefined
  /** Left out: people, which are members and those who were added. */
  kind?: UsersTable['kind'] | 'all' | undefined
  /** Left out: all but those who are no longer here. */
  status?: UsersTable['status'] | 'all' | undefined
}

const anyText = sql<string>`concat_ws(' ', first_name, last_name, email)`

const filtered = (db: Kysely<TenantTables>, filter: UserFilter) => {
  const { q, email, firstName, lastName, createdBy, kind, status } = filter
  return users(db)
    .$if(q !== undefined, (query) => query.where(anyText, 'ilike', containing(q ?? '')))
    .$if(email !== undefined, (query) => query.where('email', 'ilike', containing(email ?? '')))
    .$if(firstName !== undefined, (query) => query.where('first_name', 'ilike', containing(firstName ?? '')))
    .$if(lastName !== undefined, (query) => query.where('last_name', 'ilike', containing(lastName ?? '')))
    .$if(createdBy !== undefined, (query) => query.where('created_by', '=', createdBy ?? ''))
    .$if(kind === undefined, (query) => query.where('kind', 'in', ['member', 'added']))
    .$if(kind !== undefined && kind !== 'all', (query) =>
      query.where('kind', '=', kind as UsersTable['kind']),
    )
    .$if(status === undefined, (query) => query.where('status', '<>', 'removed'))
    .$if(status !== undefined && status !== 'all', (query) =>
      query.where('status', '=', status as UsersTable['status']),
    )
}

export const listUsers = (db: TenantDb, filter: UserFilter, page: Asked<Key>) =>
  sortedPage(filtered(db, filter), 'users.id', sorts, page)

export const countUsers = async (db: TenantDb, filter: UserFilter): Promise<number> => {
  const { count } = await filtered(db, filter)
    .clearSelect()
    .select(sql<number>`count(*)::int`.as('count'))
    .executeTakeFirstOrThrow()
  return count
}

const byEitherId = (db: Kysely<TenantTables>, id: string) =>
  users(db).where((w) => w.or([w('id', '=', id), w('person_id', '=', id)]))

/**
 * Somebody in the directory by their id there, or by the id of their account, which is the `userId` of `/api/members`. One is
 * never somebody else's other.
 */
export const findUser = (db: Kysely<TenantTables>, id: string): Promise<UserRow | undefined> =>
  byEitherId(db, id).executeTakeFirst()

/** Somebody in the directory, by either id. They stay there as they are until the transaction ends. */
export const holdUser = (trx: Trx, id: string): Promise<UserRow | undefined> =>
  byEitherId(trx, id).forShare().executeTakeFirst()

/** Nobody changes them before the transaction ends. */
export const lockUser = (trx: Trx, id: string): Promise<UserRow | undefined> =>
  byEitherId(trx, id).forUpdate().executeTakeFirst()

const emailTaken = (): AppError =>
  new AppError(
    'email_taken',
    'Somebody in the directory has this address: look for them with GET /api/users?status=all.',
  )

/** Adds somebody without an account. Throws `email_taken`. */
export const insertUser = (
  trx: Trx,
  user: { email: string; first_name: string; last_name: string | null; created_by: string },
): Promise<UserRow> =>
  trx
    .insertInto('users')
    .values({ id: newId(), kind: 'added', status: 'active', ...user })
    .returning(columns)
    .executeTakeFirstOrThrow()
    .catch(violated('users_email_key', emailTaken))

/** Changes somebody whom this transaction has locked. Throws `email_taken`. */
export const updateUser = (
  trx: Trx,
  id: string,
  change: { email?: string; first_name?: string; last_name?: string | null },
): Promise<UserRow> =>
  trx
    .updateTable('users')
    .set({ ...change, updated_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirstOrThrow()
    .catch(violated('users_email_key', emailTaken))

/** Takes somebody out of the directory; what they have made names nobody then. */
export const deleteUser = async (trx: Trx, id: string): Promise<void> => {
  // The other tables have a foreign key that does it.
  for (const table of ['jobs', 'job_schedules'] as const) {
    await trx.updateTable(table).set({ created_by: null }).where('created_by', '=', id).execute()
  }
  await trx.deleteFrom('users').where('id', '=', id).execute()
}
