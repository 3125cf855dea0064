import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { randomSecret, type SecretBox } from '../kernel/crypto.ts'
import { isUuid, newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { insertPerson, normalizeEmail } from '../master/people.ts'
import { sealedFor } from '../master/secrets.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'
import type { ClientInfo } from './sessions.ts'

const prefix = 'fhs_'
/** Seconds that a system user's token and session live; there is no refresh token (RFC 6749, 4.4.3). */
export const systemTokenSeconds = 86_400

/** Makes a secret of 256 random bits, of which only the SHA-256 is kept. The one before must have an end. */
const addSystemSecret = async (trx: MasterTransaction, systemUserId: string): Promise<string> => {
  const secret = prefix + randomSecret()
  const secret_hash = opaqueTokenHash(prefix, secret)
  if (secret_hash === undefined) throw new Error('a new secret has the wrong shape')
  await trx
    .insertInto('system_user_secrets')
    .values({ id: newId(), system_user_id: systemUserId, secret_hash })
    .execute()
  return secret
}

export type NewSystemUser = Readonly<{
  name: string
  /** Undefined: one is made, at which nobody can be reached. */
  email: string | undefined
  serviceType: string
  metadata?: Readonly<Record<string, string>> | undefined
  /** The tenant that keeps it; null: the platform. */
  tenantId: string | null
}>

/** Adds a system user with its first secret. Throws `email_taken` when the address has an account. */
export const createSystemUser = async (
  trx: MasterTransaction,
  { name, email, serviceType, metadata = {}, tenantId }: NewSystemUser,
): Promise<{ id: string; clientSecret: string }> => {
  const { id } = await insertPerson(trx, {
    // A name of RFC 2606: it belongs to nobody, and no mail ever gets there.
    email: email ?? `${newId()}@system-users.invalid`,
    firstName: name.trim(),
    lastName: null,
    passwordHash: null,
    system: true,
  })
  await trx
    .insertInto('system_users')
    .values({ id, service_type: serviceType.trim(), metadata, tenant_id: tenantId })
    .execute()
  return { id, clientSecret: await addSystemSecret(trx, id) }
}

/**
 * Gives the system user a new secret; all older ones stay good for `graceDays` at most, or none with 0. Answers undefined
 * when there is no such system user. Two rotations at once come one after the other.
 */
export const rotateSystemSecret = async (
  trx: MasterTransaction,
  systemUserId: string,
  graceDays: number,
): Promise<string | undefined> => {
  const locked = await trx
    .selectFrom('system_users')
    .select('id')
    .where('id', '=', systemUserId)
    .forUpdate()
    .executeTakeFirst()
  if (locked === undefined) return undefined
  const end = sql<Date>`now() + make_interval(days => ${graceDays})`
  if (graceDays === 0) {
    await trx.deleteFrom('system_user_secrets').where('system_user_id', '=', systemUserId).execute()
  } else {
    await trx
      .updateTable('system_user_secrets')
      .set({ expires_at: sql<Date>`least(expires_at, ${end})` })
      .where('system_user_id', '=', systemUserId)
      .execute()
    // Nor do the sessions that they have opened outlive them.
    await trx
      .updateTable('sessions')
      .set({ expires_at: sql<Date>`least(expires_at, ${end})` })
      .where('person_id', '=', systemUserId)
      .where('ended_at', 'is', null)
      .execute()
  }
  return addSystemSecret(trx, systemUserId)
}

/** Ends every secret but the newest, and the sessions they opened. Answers how many there were. */
export const revokeOldSystemSecrets = async (
  trx: MasterTransaction,
  systemUserId: string,
): Promise<number> => {
  const { numDeletedRows } = await trx
    .deleteFrom('system_user_secrets')
    .where('system_user_id', '=', systemUserId)
    .where('expires_at', 'is not', null)
    .executeTakeFirst()
  return Number(numDeletedRows)
}

/** Removes secrets whose grace is over, with what is left of their sessions; they have been refused since. */
export const dropExpiredSystemSecrets = async (db: MasterDb): Promise<void> => {
  await db.deleteFrom('system_user_secrets').where('expires_at', '<=', sql<Date>`now()`).execute()
}

/** The system user, by id or email, that this secret is good for, and until when; under lock until the transaction ends. */
export const lockSystemUser = async (trx: MasterTransaction, client: { id: string; secret: string }) => {
  const hash = opaqueTokenHash(prefix, client.secret)
  if (hash === undefined) return undefined
  return (
    trx
      .selectFrom('system_user_secrets as secret')
      .innerJoin('system_users as system', 'system.id', 'secret.system_user_id')
      .innerJoin('people', 'people.id', 'system.id')
      .select([
        'people.id',
        'people.email',
        'system.service_type',
        'secret.id as secret_id',
        'secret.expires_at',
      ])
      .where('secret.secret_hash', '=', hash)
      .where((w) => w.or([w('secret.expires_at', 'is', null), w('secret.expires_at', '>', sql<Date>`now()`)]))
      .where('people.disabled_at', 'is', null)
      .where(isUuid(client.id) ? 'people.id' : 'people.email', '=', normalizeEmail(client.id))
      // Whoever revokes the secret or disables its user waits, and then ends the session that is started now.
      .forShare(['secret', 'people'])
      .executeTakeFirst()
  )
}

/** Starts a session that only this secret keeps alive. Answers its id. */
export const startSystemSession = async (
  trx: MasterTransaction,
  box: SecretBox,
  system: NonNullable<Awaited<ReturnType<typeof lockSystemUser>>>,
  session: { tenantId: string | null } & ClientInfo,
): Promise<string> => {
  const id = newId()
  await trx
    .insertInto('sessions')
    .values({
      id,
      person_id: system.id,
      tenant_id: session.tenantId,
      // No refresh token is ever derived from it.
      secret: box.seal(randomBytes(32), sealedFor.session(id)),
      system_secret_id: system.secret_id,
      address: session.address,
      user_agent: session.userAgent,
      expires_at: sql<Date>`least(now() + make_interval(secs => ${systemTokenSeconds}), ${system.expires_at}::timestamptz)`,
    })
    .execute()
  await trx
    .updateTable('system_users')
    .set({ last_used_at: sql<Date>`now()` })
    .where('id', '=', system.id)
    .execute()
  return id
}
