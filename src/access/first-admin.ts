import { sql } from 'kysely'
import { randomSecret } from '../kernel/crypto.ts'
import { writeMasterAudit } from '../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { findPersonByEmail, insertPerson } from '../master/people.ts'
import type { Passwords } from './passwords.ts'

/** What the operator is to be shown, once. `password` is undefined when they chose it themselves. */
export type FirstAdmin = { email: string; password: string | undefined }

/**
 * Makes the first platform admin of an installation. With no password given, one is generated; until
 * `firstAdminShown` is called, every start generates a new one, so a crash before it was shown locks nobody out.
 * Answers undefined when there is nothing to show.
 */
export const ensureFirstAdmin = async (
  db: MasterDb,
  passwords: Passwords,
  admin: { email: string; password: string | undefined },
): Promise<FirstAdmin | undefined> => {
  const settled = await db.selectFrom('installation').select('admin_shown_at').executeTakeFirstOrThrow()
  if (settled.admin_shown_at !== null) return undefined
  const password = admin.password ?? randomSecret().slice(0, 22)
  const passwordHash = await passwords.hash(password)
  return db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom('installation')
      .select('admin_shown_at')
      .forUpdate()
      .executeTakeFirstOrThrow()
    if (row.admin_shown_at !== null) return undefined
    const existing = await findPersonByEmail(trx, admin.email)
    if (existing === undefined) {
      const person = await insertPerson(trx, {
        email: admin.email,
        firstName: 'Platform',
        lastName: 'Admin',
        passwordHash,
        platformAdmin: true,
        emailVerified: true,
      })
      await writeMasterAudit(trx, {
        actor: { kind: 'system', id: null },
        action: 'platform_admin.created',
        entity: { type: 'person', id: person.id },
      })
    } else {
      await takeOver(trx, existing.id, passwordHash)
    }
    return { email: admin.email, password: admin.password === undefined ? password : undefined }
  })
}

/** Gives an existing account to the operator. Whoever was signed in to it before is no admin, so they are signed out. */
const takeOver = async (trx: MasterTransaction, personId: string, passwordHash: string): Promise<void> => {
  const now = sql<Date>`now()`
  await trx
    .updateTable('people')
    .set({ password_hash: passwordHash, platform_admin: true, updated_at: now })
    .where('id', '=', personId)
    .execute()
  await trx
    .updateTable('sessions')
    .set({ ended_at: now })
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .execute()
  await writeMasterAudit(trx, {
    actor: { kind: 'system', id: null },
    action: 'platform_admin.password_set',
    entity: { type: 'person', id: personId },
  })
}

/** Remembers that the operator has seen the first admin's password; from now on starts leave the account alone. */
export const firstAdminShown = async (db: MasterDb): Promise<void> => {
  await db
    .updateTable('installation')
    .set({ admin_shown_at: sql<Date>`now()` })
    .where('admin_shown_at', 'is', null)
    .execute()
}
