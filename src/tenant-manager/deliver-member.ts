import type pg from 'pg'
import type { MasterDb } from '../master/master.ts'

/** A person as the master knows them now; `member` is undefined when they are no member of the tenant (any more). */
export type MemberState = { personId: string; member: Member | undefined }

const membersOf = (db: MasterDb, tenantId: string, personIds: readonly string[]) =>
  db
    .selectFrom('memberships')
    .innerJoin('people', 'people.id', 'memberships.person_id')
    .select(['people.id', 'people.kind', 'people.email', 'people.first_name', 'people.last_name'])
    .select(['people.disabled_at', 'memberships.status'])
    .where('memberships.tenant_id', '=', tenantId)
    .where('memberships.person_id', 'in', personIds)

type Member = Awaited<ReturnType<ReturnType<typeof membersOf>['execute']>>[number]

/** Each of these people as they are now in the tenant. */
export const readMembers = async (
  db: MasterDb,
  tenantId: string,
  personIds: readonly string[],
): Promise<MemberState[]> => {
  if (personIds.length === 0) return []
  const members = new Map((await membersOf(db, tenantId, personIds).execute()).map((row) => [row.id, row]))
  return personIds.map((personId) => ({ personId, member: members.get(personId) }))
}

/**
 * Brings a person's row in the tenant's own directory to this state, in the caller's transaction on the tenant's database.
 * Called once or more for each change, never two at a time, and the last call has the newest state.
 */
export const deliverMember = async (_client: pg.Client, _state: MemberState): Promise<void> => {}
