import { sql } from 'kysely'
import { randomSecret } from '../kernel/crypto.ts'
import { writeMasterAudit } from '../master/audit-log.ts'
import type { MasterDb } from '../master/master.ts'
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
      await trx
        .updateTable('people')
        .set({ password_hash: passwordHash, platform_admin: true, updated_at: sql<Date>`now()` })
        .where('id', '=', existing.id)
        .execute()
    }
    return { email: admin.email, password: admin.password === undefined ? password : undefined }
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
