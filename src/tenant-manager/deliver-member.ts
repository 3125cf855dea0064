import { sql } from 'kysely'
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
    // One value, however many they are: a statement takes 65,535.
    .where(sql<boolean>`memberships.person_id = any(${personIds}::uuid[])`)

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

/** Everybody who is on the roll of the tenant: its members, and whom its own directory takes for members. */
export const readRoll = async (db: MasterDb, client: pg.Client, tenantId: string): Promise<string[]> => {
  const here = await db
    .selectFrom('memberships')
    .select('person_id')
    .where('tenant_id', '=', tenantId)
    .execute()
  const there = await client.query<{ person_id: string }>(
    `select person_id from users where kind in ('member', 'system') and status <> 'removed'`,
  )
  return [...new Set([...here, ...there.rows].map((row) => row.person_id))]
}

/** What the directory says of a member. */
const factsOf = ({ kind, status, email, first_name, last_name, disabled_at }: Member) => ({
  kind: kind === 'person' ? 'member' : 'system',
  status: disabled_at === null ? status : 'inactive',
  email: kind === 'person' ? email : null,
  first_name,
  last_name,
})

/** Those whose row in the directory is not what it ought to be: of a whole roll few, if any. */
export const outdated = async (
  client: pg.Client,
  states: readonly MemberState[],
): Promise<readonly MemberState[]> => {
  if (states.length === 0) return states
  const { rows } = await client.query<{ person_id: string }>(
    'select person_id, kind, status, email, first_name, last_name from users where person_id is not null',
  )
  const here = new Map(rows.map(({ person_id, ...facts }) => [person_id, JSON.stringify(facts)]))
  return states.filter(
    ({ personId, member }) => member === undefined || here.get(personId) !== JSON.stringify(factsOf(member)),
  )
}

/** Whoever is no member any more stays, because rows name them, but has no role in a workspace left. */
const markRemoved = async (client: pg.Client, personId: string): Promise<void> => {
  await client.query(
    `update users set status = 'removed', updated_at = clock_timestamp()
      where person_id = $1 and kind in ('member', 'system') and status <> 'removed'`,
    [personId],
  )
  await client.query(
    `delete from workspace_members using users
      where users.id = user_id and users.person_id = $1 and users.status = 'removed'`,
    [personId],
  )
}

/** Roles in workspaces that somebody had when they left, though they have come back since; later ones stay. */
export const deliverLeaving = async (client: pg.Client, personId: string, at: Date): Promise<void> => {
  await client.query(
    `delete from workspace_members using users
      where users.id = user_id and users.person_id = $1 and workspace_members.updated_at <= $2`,
    [personId, at],
  )
}

/** An address has one owner here as in the master: whoever had it before with another account has it no more. */
const freeAddress = (client: pg.Client, personId: string, email: string): Promise<unknown> =>
  client.query(
    `update users set email = null, updated_at = clock_timestamp() where lower(email) = lower($2) and person_id <> $1`,
    [personId, email],
  )

/** Somebody who was added here by their address before they had an account gets the account. */
const link = (client: pg.Client, personId: string, email: string): Promise<unknown> =>
  client.query(
    `update users set person_id = $1, kind = 'member', updated_at = clock_timestamp()
      where lower(email) = lower($2) and person_id is null
        and not exists (select from users where person_id = $1)`,
    [personId, email],
  )

/** Where it could not be linked, because the account has a row of its own by now, the added one gives the address away. */
const giveAway = (client: pg.Client, email: string): Promise<unknown> =>
  client.query(
    `update users set email = null, updated_at = clock_timestamp() where lower(email) = lower($1) and person_id is null`,
    [email],
  )

/**
 * Brings a person's row in the tenant's own directory to this state, in the caller's transaction on the tenant's database.
 * Called once or more for each change, never two at a time, and the last call has the newest state.
 */
export const deliverMember = async (client: pg.Client, { personId, member }: MemberState): Promise<void> => {
  if (member === undefined) return markRemoved(client, personId)
  const { kind, status, email, first_name, last_name } = factsOf(member)
  if (email !== null) {
    await freeAddress(client, personId, email)
    await link(client, personId, email)
    await giveAway(client, email)
  }
  await client.query(
    `insert into users (id, person_id, kind, status, email, first_name, last_name)
     values ($1, $1, $2, $3, $4, $5, $6)
     on conflict (person_id) do update
       set (kind, status, email, first_name, last_name, updated_at)
         = (excluded.kind, excluded.status, excluded.email, excluded.first_name, excluded.last_name, clock_timestamp())
       where (users.kind, users.status, users.email, users.first_name, users.last_name) is distinct from
         (excluded.kind, excluded.status, excluded.email, excluded.first_name, excluded.last_name)`,
    [personId, kind, status, email, first_name, last_name],
  )
}
