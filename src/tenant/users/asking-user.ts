import type { Transaction } from 'kysely'
import type { TenantScope } from '../../http/guards.ts'
import type { TenantTables } from '../tables.ts'

type Trx = Transaction<TenantTables>
type Who = Pick<TenantScope<TenantTables>, 'personId' | 'grant'>

const find = async (trx: Trx, personId: string): Promise<string | undefined> =>
  (await trx.selectFrom('users').select('id').where('person_id', '=', personId).executeTakeFirst())?.id

/** What the master says of whoever asks. Only a member's address and name are the tenant's business. */
const facts = ({ personId, grant: { holder } }: Who) => ({
  person_id: personId,
  kind: holder.kind,
  status: 'active' as const,
  email: holder.kind === 'member' ? holder.email : null,
  first_name: holder.kind === 'operator' ? null : holder.firstName,
  last_name: holder.kind === 'operator' ? null : holder.lastName,
})

/** Whoever was added here before they had an account is the same person when they come with it. */
const link = async (trx: Trx, who: Who): Promise<string | undefined> => {
  const { email, ...rest } = facts(who)
  if (email === null) return undefined
  const row = await trx
    .updateTable('users')
    .set({ ...rest, email })
    .where((w) => w.fn('lower', ['email']), '=', email.toLowerCase())
    .where('person_id', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row?.id
}

/**
 * The id in the tenant's directory of whoever asks, for `created_by`. Somebody of whom the master's word has not come yet
 * is written into the directory in this transaction, so nobody waits for it.
 */
export const askingUser = async (trx: Trx, who: Who): Promise<string> => {
  const known = (await find(trx, who.personId)) ?? (await link(trx, who))
  if (known !== undefined) return known
  const add = (email: string | null) =>
    trx
      .insertInto('users')
      .values({ id: who.personId, ...facts(who), email })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  await add(facts(who).email)
  const added = await find(trx, who.personId)
  if (added !== undefined) return added
  // Somebody here still has an address that is no longer theirs; the master's word puts that right.
  await add(null)
  const nameless = await find(trx, who.personId)
  if (nameless === undefined) throw new Error('who asks could not be written into the directory')
  return nameless
}
