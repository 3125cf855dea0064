import { sql } from 'kysely'
import type { ProviderSubject } from '../../access/mailed-tokens.ts'
import { newId } from '../../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

const columns = ['id', 'issuer', 'subject', 'email', 'created_at', 'last_used_at'] as const

/** An identity and whether its person may sign in. */
export const findIdentity = (db: MasterDb, { issuer, subject }: ProviderSubject) =>
  db
    .selectFrom('identities')
    .innerJoin('people', 'people.id', 'identities.person_id')
    .select(['identities.id', 'identities.person_id', 'people.disabled_at'])
    .where('issuer', '=', issuer)
    .where('subject', '=', subject)
    .executeTakeFirst()

/** Answers the new identity's id; undefined when it is connected already, to whomever. */
export const insertIdentity = async (
  trx: MasterTransaction,
  personId: string,
  identity: ProviderSubject & { email: string | null },
): Promise<string | undefined> => {
  const row = await trx
    .insertInto('identities')
    .values({ id: newId(), person_id: personId, ...identity })
    .onConflict((conflict) => conflict.columns(['issuer', 'subject']).doNothing())
    .returning('id')
    .executeTakeFirst()
  return row?.id
}

/**
 * The person of an identity, noted as used now; undefined when it is gone or they are disabled. Until the transaction ends
 * nobody can change that.
 */
export const lockPersonOf = async (trx: MasterTransaction, identityId: string) => {
  const used = await trx
    .updateTable('identities')
    .set({ last_used_at: sql<Date>`now()` })
    .where('id', '=', identityId)
    .returning('person_id')
    .executeTakeFirst()
  if (used === undefined) return undefined
  return lockPerson(trx, used.person_id)
}

/** A person who is not disabled, under lock. */
export const lockPerson = (trx: MasterTransaction, personId: string) =>
  trx
    .selectFrom('people')
    .select(['id', 'email', 'password_hash', 'email_verified_at'])
    .where('id', '=', personId)
    .where('kind', '=', 'person')
    .where('disabled_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst()

/** A person's identities, newest first, and one more than `limit` when there are more. */
export const listIdentities = (
  db: MasterDb,
  personId: string,
  page: { limit: number; after: string | undefined },
) =>
  db
    .selectFrom('identities')
    .select(columns)
    .where('person_id', '=', personId)
    .$if(page.after !== undefined, (query) => query.where('id', '<', page.after ?? ''))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** All of a person's identities; they are few. */
export const identitiesOf = (db: MasterDb, personId: string) =>
  db.selectFrom('identities').select(['id', 'issuer']).where('person_id', '=', personId).execute()

export const findOwnIdentity = (db: MasterDb, personId: string, id: string) =>
  db
    .selectFrom('identities')
    .select(columns)
    .where('person_id', '=', personId)
    .where('id', '=', id)
    .executeTakeFirst()

export type IdentityRow = NonNullable<Awaited<ReturnType<typeof findOwnIdentity>>>

export const deleteIdentity = async (trx: MasterTransaction, id: string): Promise<void> => {
  await trx.deleteFrom('identities').where('id', '=', id).execute()
}

/**
 * Takes away every way into an account but the ones of whoever reads its mail: its password, its identities and what it
 * knows of devices. For an account that nobody has proved to be theirs.
 */
export const clearWaysIn = async (trx: MasterTransaction, personId: string): Promise<void> => {
  await trx
    .updateTable('people')
    .set({ password_hash: null, updated_at: sql<Date>`now()` })
    .where('id', '=', personId)
    .execute()
  await trx.deleteFrom('identities').where('person_id', '=', personId).execute()
  await trx.deleteFrom('known_devices').where('person_id', '=', personId).execute()
}
