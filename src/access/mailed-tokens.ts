import { sql } from 'kysely'
import { randomSecret } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'

/** What a link in a mail is good for. */
export type Purpose = 'sign_up' | 'verify_email' | 'reset_password' | 'link_identity'

/** Two purposes share a prefix because one page takes both: it proves an address, with an account or before there is one. */
const prefixes: Record<Purpose, string> = {
  sign_up: 'fhv_',
  verify_email: 'fhv_',
  reset_password: 'fhp_',
  link_identity: 'fhi_',
}

/** OWASP Forgot Password Cheat Sheet: short for what opens an account, a day for what only proves an address. */
const lifetimeHours: Record<Purpose, number> = {
  sign_up: 24,
  verify_email: 24,
  reset_password: 1,
  link_identity: 1,
}

/** What somebody who signs up wants to be; the account is made when their address is proved. */
export type PendingRegistration = { passwordHash: string; firstName: string; lastName: string | null }

/** Who somebody is at a provider: the two together, and nothing else, name them. */
export type ProviderSubject = { issuer: string; subject: string }

type Owner =
  | { purpose: 'sign_up'; email: string; registration: PendingRegistration }
  | { purpose: 'verify_email' | 'reset_password'; email: string; personId: string }
  | { purpose: 'link_identity'; email: string; personId: string; identity: ProviderSubject }

const columns = [
  'id',
  'purpose',
  'email',
  'person_id',
  'registration',
  'identity',
  'contested',
  'expires_at',
] as const

/**
 * Makes a token of 256 random bits that is good once, and answers it; only its SHA-256 is kept. It takes the place of an
 * earlier one for the same purpose and address, which is dead from then on.
 */
export const createMailedToken = async (
  trx: MasterTransaction,
  owner: Owner,
): Promise<{ token: string; expiresAt: Date }> => {
  const token = prefixes[owner.purpose] + randomSecret()
  const hash = opaqueTokenHash(prefixes[owner.purpose], token)
  if (hash === undefined) throw new Error('a new token has the wrong shape')
  const hours = lifetimeHours[owner.purpose]
  const row = {
    token_hash: hash,
    person_id: owner.purpose === 'sign_up' ? null : owner.personId,
    registration: owner.purpose === 'sign_up' ? owner.registration : null,
    identity: owner.purpose === 'link_identity' ? owner.identity : null,
    created_at: sql<Date>`now()`,
    expires_at: sql<Date>`now() + make_interval(hours => ${hours})`,
  }
  const { expires_at } = await trx
    .insertInto('mailed_tokens')
    .values({ id: newId(), purpose: owner.purpose, email: owner.email, ...row })
    .onConflict((conflict) =>
      conflict.columns(['purpose', 'email']).doUpdateSet({
        ...row,
        contested: sql<boolean>`excluded.purpose = 'sign_up'
          and (mailed_tokens.contested or mailed_tokens.registration <> excluded.registration)
          and mailed_tokens.expires_at > now()`,
      }),
    )
    .returning('expires_at')
    .executeTakeFirstOrThrow()
  return { token, expiresAt: expires_at }
}

const byToken = (token: string, purposes: readonly Purpose[]) =>
  purposes.map((purpose) => opaqueTokenHash(prefixes[purpose], token)).find((hash) => hash !== undefined)

/** True when the token is good right now. It may be spent a moment later: only `spendMailedToken` decides. */
export const isMailedTokenGood = async (
  db: MasterDb,
  token: string,
  purposes: readonly [Purpose, ...Purpose[]],
): Promise<boolean> => {
  const hash = byToken(token, purposes)
  if (hash === undefined) return false
  const row = await db
    .selectFrom('mailed_tokens')
    .select('id')
    .where('token_hash', '=', hash)
    .where('purpose', 'in', purposes)
    .where('expires_at', '>', sql<Date>`now()`)
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Spends a token for one of these purposes and answers what it proves; undefined when it is spent, superseded, expired or
 * was never ours. However many try at once, one transaction gets it, and it is good again when that one rolls back.
 */
export const spendMailedToken = async (
  trx: MasterTransaction,
  token: string,
  purposes: readonly [Purpose, ...Purpose[]],
) => {
  const hash = byToken(token, purposes)
  if (hash === undefined) return undefined
  return trx
    .deleteFrom('mailed_tokens')
    .where('token_hash', '=', hash)
    .where('purpose', 'in', purposes)
    .where('expires_at', '>', sql<Date>`now()`)
    .returning(columns)
    .executeTakeFirst()
}

/** Makes every unspent token of a person useless: what they prove has changed. */
export const dropMailedTokens = async (
  trx: MasterTransaction,
  personId: string,
  purpose: Purpose,
): Promise<void> => {
  await trx
    .deleteFrom('mailed_tokens')
    .where('person_id', '=', personId)
    .where('purpose', '=', purpose)
    .execute()
}
