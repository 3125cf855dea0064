import { sql } from 'kysely'
import { randomSecret } from '../kernel/crypto.ts'
import { writeMasterAudit } from '../master/audit-log.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { findPersonByEmail, insertPerson } from '../master/people.ts'
import { endSessionsOf } from './end-session.ts'
import { dropMailedTokens } from './mailed-tokens.ts'
import type { Passwords } from './passwords.ts'

/** What the operator is to be shown, once. `password` is undefined when they chose it themselves. */
export type FirstAdmin = { email: string; password: string | undefined }

const isShown = async (db: MasterDb): Promise<boolean> => {
  const row = await db.selectFrom('installation').select('admin_shown_at').executeTakeFirstOrThrow()
  return row.admin_shown_at !== null
}

/**
 * Makes the first platform admin of an installation and shows it to the operator with `show`, which must be done when it
 * returns; without anything to show it is called with undefined. The admin can sign in before it is shown. Killed before
 * it is remembered as shown, the next start makes another password and shows that; of nodes that start at once only one
 * makes the admin, and the others wait for it.
 */
export const announceFirstAdmin = async (
  db: MasterDb,
  passwords: Passwords,
  admin: { email: string; password: string | undefined },
  show: (admin: FirstAdmin | undefined) => void,
): Promise<void> => {
  if (await isShown(db)) return show(undefined)
  const password = admin.password ?? randomSecret().slice(0, 22)
  const passwordHash = await passwords.hash(password)
  await db.transaction().execute(async (outer) => {
    await outer.selectFrom('installation').select('id').forUpdate().execute()
    if (await isShown(outer)) return show(undefined)
    // Committed by itself, while the lock above keeps other nodes waiting.
    await db.transaction().execute(async (trx) => {
      const existing = await findPersonByEmail(trx, admin.email)
      if (existing === undefined) await makeAdmin(trx, admin.email, passwordHash)
      else await takeOver(trx, existing.id, passwordHash)
    })
    show({ email: admin.email, password: admin.password === undefined ? password : undefined })
    await outer.updateTable('installation').set({ admin_shown_at: sql<Date>`now()` }).execute()
  })
}

const makeAdmin = async (trx: MasterTransaction, email: string, passwordHash: string): Promise<void> => {
  const person = await insertPerson(trx, {
    email,
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
}

/** Gives an existing account to the operator. Whoever was signed in to it before is no admin, so they are signed out. */
const takeOver = async (trx: MasterTransaction, personId: string, passwordHash: string): Promise<void> => {
  const now = sql<Date>`now()`
  await trx
    .updateTable('people')
    .set({ password_hash: passwordHash, platform_admin: true, updated_at: now })
    .where('id', '=', personId)
    .execute()
  await endSessionsOf(trx, personId, 'taken_over')
  await dropMailedTokens(trx, personId, 'reset_password')
  await writeMasterAudit(trx, {
    actor: { kind: 'system', id: null },
    action: 'platform_admin.password_set',
    entity: { type: 'person', id: personId },
  })
}
