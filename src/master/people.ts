import { sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { isUniqueViolation } from './postgres-errors.ts'

const columns = [
  'people.id',
  'people.email',
  'people.first_name',
  'people.last_name',
  'people.password_hash',
  'people.email_verified_at',
  'people.platform_admin',
  'people.disabled_at',
  'people.created_at',
] as const

export type Person = NonNullable<Awaited<ReturnType<typeof findPersonByEmail>>>

/** Addresses are compared in one spelling: without surrounding space and in lower case. */
export const normalizeEmail = (email: string): string => email.trim().toLowerCase()

/** A person, never a system user: those have no password to sign in with, to forget or to reset. */
export const findPersonByEmail = (db: MasterDb, email: string) =>
  db
    .selectFrom('people')
    .select(columns)
    .where('email', '=', normalizeEmail(email))
    .where('kind', '=', 'person')
    .executeTakeFirst()

export const findPerson = (db: MasterDb, id: string) =>
  db.selectFrom('people').select(columns).where('id', '=', id).executeTakeFirst()

export type NewPerson = {
  email: string
  firstName: string
  lastName: string | null
  /** Null: they choose a password, or come by another way, later. */
  passwordHash: string | null
  platformAdmin?: boolean
  emailVerified?: boolean
  system?: boolean
}

/** Adds a person; throws `email_taken` when the address has an account. */
export const insertPerson = async (trx: MasterTransaction, person: NewPerson): Promise<Person> => {
  try {
    return await trx
      .insertInto('people')
      .values({
        id: newId(),
        email: normalizeEmail(person.email),
        first_name: person.firstName,
        last_name: person.lastName,
        password_hash: person.passwordHash,
        kind: person.system ? 'system' : 'person',
        platform_admin: person.platformAdmin ?? false,
        email_verified_at: person.emailVerified ? sql<Date>`now()` : null,
      })
      .returning(columns)
      .executeTakeFirstOrThrow()
  } catch (error) {
    if (!isUniqueViolation(error, 'people_email_key')) throw error
    throw new AppError('email_taken', 'There is an account with this email address; sign in instead.', {
      cause: error,
    })
  }
}
