import { sql } from 'kysely'
import { randomSecret, sameBytes, sha256 } from '../kernel/crypto.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'

const prefix = 'fhc_'
/** A browser is on its way; whoever needs longer begins again. */
const lifetimeSeconds = 60

/**
 * Makes a code that becomes a session of the identity's person, once and within a minute; only its SHA-256 is kept. With a
 * challenge (SHA-256 of a verifier) it is good only together with the verifier.
 */
export const createSignInCode = async (
  trx: MasterTransaction,
  identityId: string,
  challenge: Buffer | null,
): Promise<string> => {
  const code = prefix + randomSecret()
  await trx
    .insertInto('sign_in_codes')
    .values({
      code_hash: sha256(code),
      identity_id: identityId,
      challenge,
      expires_at: sql<Date>`now() + make_interval(secs => ${lifetimeSeconds})`,
    })
    .execute()
  return code
}

const fits = (challenge: Buffer | null, verifier: string | undefined): boolean =>
  challenge === null || verifier === undefined
    ? challenge === null && verifier === undefined
    : sameBytes(challenge, sha256(verifier))

/**
 * Spends a code and answers its identity; undefined when it is spent, expired or was never ours. A verifier must come
 * exactly when there was a challenge: a program that has one takes no code that somebody else began. A try with a wrong one
 * spends the code too.
 */
export const spendSignInCode = async (
  trx: MasterTransaction,
  code: string,
  verifier: string | undefined,
): Promise<string | undefined> => {
  const hash = opaqueTokenHash(prefix, code)
  if (hash === undefined) return undefined
  const row = await trx
    .deleteFrom('sign_in_codes')
    .where('code_hash', '=', hash)
    .where('expires_at', '>', sql<Date>`now()`)
    .returning(['identity_id', 'challenge'])
    .executeTakeFirst()
  return row !== undefined && fits(row.challenge, verifier) ? row.identity_id : undefined
}

/**
 * Notes that the sign-in of this state has come back from its provider. False when it had before: however often, and on
 * however many nodes at once, one of them gets true.
 */
export const spendSignIn = async (db: MasterDb, state: string, expiresAt: Date): Promise<boolean> => {
  const { numInsertedOrUpdatedRows: inserted } = await db
    .insertInto('spent_sign_ins')
    .values({ state_hash: sha256(state), expires_at: expiresAt })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return inserted === 1n
}
