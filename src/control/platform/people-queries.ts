import { sql } from 'kysely'
import { containing } from '../../kernel/containing.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { normalizeEmail } from '../../master/people.ts'

/** People only: system users are kept apart, under their own address. */
const people = (db: MasterDb) =>
  db
    .selectFrom('people')
    .where('kind', '=', 'person')
    .select((row) => [
      'people.id',
      'people.email',
      'people.first_name',
      'people.last_name',
      'people.email_verified_at',
      'people.platform_admin',
      'people.disabled_at',
      'people.created_at',
      row
        .selectFrom('memberships')
        .innerJoin('tenants', 'tenants.id', 'memberships.tenant_id')
        .whereRef('memberships.person_id', '=', 'people.id')
        .where('memberships.status', '=', 'active')
        .where('tenants.status', '<>', 'deleted')
        .select(({ fn }) => fn.countAll<string>().as('count'))
        .as('tenants'),
      row
        .selectFrom('sessions')
        .whereRef('sessions.person_id', '=', 'people.id')
        .where('sessions.ended_at', 'is', null)
        .where('sessions.expires_at', '>', sql<Date>`now()`)
        .where('sessions.idle_expires_at', '>', sql<Date>`now()`)
        .select(({ fn }) => fn.countAll<string>().as('count'))
        .as('sessions'),
      row
        .selectFrom('sessions')
        .whereRef('sessions.person_id', '=', 'people.id')
        .select(({ fn }) => fn.max('sessions.last_used_at').as('at'))
        .as('last_used_at'),
    ])

/** A person as platform admins see them. */
export type ListedPerson = Awaited<ReturnType<ReturnType<typeof people>['executeTakeFirstOrThrow']>>

export type PeopleFilter = {
  /** In the address or a name, in whatever case. */
  q?: string
  email?: string
  disabled?: boolean
  platformAdmin?: boolean
}

/** People, newest first, and one more than `limit` when there are more. */
export const listPeople = (
  db: MasterDb,
  page: { limit: number; after: string | undefined },
  { q, email, disabled, platformAdmin }: PeopleFilter,
): Promise<ListedPerson[]> =>
  people(db)
    .$if(q !== undefined, (query) =>
      query.where((w) =>
        w.or([
          w('people.email', 'ilike', containing(q ?? '')),
          w(sql`concat_ws(' ', people.first_name, people.last_name)`, 'ilike', containing(q ?? '')),
        ]),
      ),
    )
    .$if(email !== undefined, (query) => query.where('people.email', '=', normalizeEmail(email ?? '')))
    .$if(disabled !== undefined, (query) =>
      query.where('people.disabled_at', disabled === true ? 'is not' : 'is', null),
    )
    .$if(platformAdmin !== undefined, (query) =>
      query.where('people.platform_admin', '=', platformAdmin === true),
    )
    .$if(page.after !== undefined, (query) => query.where('people.id', '<', page.after ?? ''))
    .orderBy('people.id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** One person, never a system user. */
export const findListedPerson = (db: MasterDb, id: string): Promise<ListedPerson | undefined> =>
  people(db).where('people.id', '=', id).executeTakeFirst()

/** The person under lock until the transaction ends, by id or by email; never a system user. */
export const lockPerson = (trx: MasterTransaction, who: { id: string } | { email: string }) =>
  trx
    .selectFrom('people')
    .select(['id', 'email_verified_at', 'platform_admin', 'disabled_at'])
    .where('kind', '=', 'person')
    .$if('id' in who, (query) => query.where('id', '=', 'id' in who ? who.id : ''))
    .$if('email' in who, (query) =>
      query.where('email', '=', normalizeEmail('email' in who ? who.email : '')),
    )
    .forNoKeyUpdate()
    .executeTakeFirst()

export const setDisabled = async (trx: MasterTransaction, id: string, disabled: boolean): Promise<void> => {
  await trx
    .updateTable('people')
    .set({ disabled_at: disabled ? sql<Date>`now()` : null, updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .execute()
}

export const setPlatformAdmin = async (
  trx: MasterTransaction,
  id: string,
  platformAdmin: boolean,
): Promise<void> => {
  await trx
    .updateTable('people')
    .set({ platform_admin: platformAdmin, updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .execute()
}
