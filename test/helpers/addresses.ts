import { randomBytes } from 'node:crypto'
import { createMailedToken } from '../../src/access/mailed-tokens.ts'
import { newId } from '../../src/kernel/ids.ts'
import type { MasterDb } from '../../src/master/master.ts'

/** What an address can be to us. Nobody who asks may be able to tell. */
export const addressKinds = [
  'known',
  'unverified',
  'disabled',
  'without a password',
  'waiting for a link',
  'invited',
  'unknown',
] as const
export type AddressKind = (typeof addressKinds)[number]

/** An open invitation into a tenant of its own, whose link is in nobody's hands. */
const invite = async (db: MasterDb, email: string, tag: string): Promise<void> => {
  const { id: role_id } = await db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'Basic')
    .where('tenant_id', 'is', null)
    .executeTakeFirstOrThrow()
  const tenant_id = newId()
  const expires_at = new Date(Date.now() + 86_400_000)
  await db
    .insertInto('tenants')
    .values({
      id: tenant_id,
      slug: `${tag}-inviting`,
      name: 'Inviting',
      plan: 'free',
      region: 'default',
      tier: 'shared',
      status: 'pending',
    })
    .execute()
  await db
    .insertInto('invitations')
    .values({ id: newId(), tenant_id, email, role_id, token_hash: randomBytes(32), expires_at })
    .execute()
}

/** Makes one address of each kind; `tag` sets them apart from those of another call, all are equally long. */
export const makeAddresses = async (
  db: MasterDb,
  { tag, passwordHash }: { tag: string; passwordHash: string },
): Promise<Record<AddressKind, string>> => {
  const addressOf = (kind: AddressKind): string => `${tag}-${addressKinds.indexOf(kind)}@example.com`
  const addresses = Object.fromEntries(addressKinds.map((kind) => [kind, addressOf(kind)]))
  const now = new Date()
  const person = (kind: AddressKind) => ({
    id: newId(),
    email: addressOf(kind),
    first_name: 'Ada',
    password_hash: kind === 'without a password' ? null : passwordHash,
    email_verified_at: kind === 'unverified' ? null : now,
    disabled_at: kind === 'disabled' ? now : null,
  })
  const people = (['known', 'unverified', 'disabled', 'without a password'] as const).map(person)
  await db.insertInto('people').values(people).execute()
  const email = addressOf('waiting for a link')
  const registration = { passwordHash, firstName: 'Ada', lastName: null }
  await db.transaction().execute((trx) => createMailedToken(trx, { purpose: 'sign_up', email, registration }))
  await invite(db, addressOf('invited'), tag)
  return addresses as Record<AddressKind, string>
}
