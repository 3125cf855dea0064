import { sql } from 'kysely'
import type { MasterDb } from '../../src/master/master.ts'

/** Someone with a token for one tenant. */
export type Victim = Readonly<{ tenantId: string; personId: string; sessionId: string; token: string }>

/** A change in the master after which the token is good for nothing, and the way back. */
export type Revocation = Readonly<{
  name: string
  revoke(db: MasterDb, victim: Victim): Promise<unknown>
  restore(db: MasterDb, victim: Victim): Promise<unknown>
}>

const setRole = async (db: MasterDb, { tenantId, personId }: Victim, name: string): Promise<void> => {
  const role = db.selectFrom('roles').select('id').where('name', '=', name).where('tenant_id', 'is', null)
  await db
    .updateTable('memberships')
    .set({ role_id: role })
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .execute()
}

const setMember = (db: MasterDb, { tenantId, personId }: Victim, status: 'active' | 'inactive') =>
  db
    .updateTable('memberships')
    .set({ status })
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .execute()

const setTenant = (db: MasterDb, { tenantId }: Victim, status: 'active' | 'suspended') =>
  db.updateTable('tenants').set({ status }).where('id', '=', tenantId).execute()

const now = sql<Date>`now()`

const endSession = (db: MasterDb, { sessionId }: Victim, end: boolean) =>
  db
    .updateTable('sessions')
    .set(end ? { ended_at: now, end_reason: 'revoked' } : { ended_at: null, end_reason: null })
    .where('id', '=', sessionId)
    .execute()

const disable = (db: MasterDb, { personId }: Victim, at: typeof now | null) =>
  db.updateTable('people').set({ disabled_at: at }).where('id', '=', personId).execute()

export const revocations: readonly Revocation[] = [
  {
    name: 'member removed',
    revoke: (db, victim) => setMember(db, victim, 'inactive'),
    restore: (db, victim) => setMember(db, victim, 'active'),
  },
  {
    name: 'role changed',
    revoke: (db, victim) => setRole(db, victim, 'Basic'),
    restore: (db, victim) => setRole(db, victim, 'Admin'),
  },
  {
    name: 'session ended',
    revoke: (db, victim) => endSession(db, victim, true),
    restore: (db, victim) => endSession(db, victim, false),
  },
  {
    name: 'tenant suspended',
    revoke: (db, victim) => setTenant(db, victim, 'suspended'),
    restore: (db, victim) => setTenant(db, victim, 'active'),
  },
  {
    name: 'person disabled',
    revoke: (db, victim) => disable(db, victim, now),
    restore: (db, victim) => disable(db, victim, null),
  },
]
