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
  'unknown',
] as const
export type AddressKind = (typeof addressKinds)[number]

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
  return addresses as Record<AddressKind, string>
}
