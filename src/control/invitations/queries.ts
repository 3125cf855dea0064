import { sql } from 'kysely'
import { invitationTokenHash } from '../../access/invitation-tokens.ts'
import { newId } from '../../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'

/** So long the link in the mail is good. */
export const invitationDays = 7

const lifetime = () => sql<Date>`now() + make_interval(days => ${invitationDays})`

const invitations = (db: MasterDb) =>
  db
    .selectFrom('invitations')
    .innerJoin('tenants', 'tenants.id', 'invitations.tenant_id')
    .innerJoin('roles', 'roles.id', 'invitations.role_id')
    .leftJoin('people as giver', 'giver.id', 'invitations.invited_by')
    .select([
      'invitations.id',
      'invitations.tenant_id',
      'invitations.email',
      'invitations.role_id',
      'invitations.invited_by',
      'invitations.by_platform',
      'invitations.token_hash',
      'invitations.status',
      'invitations.created_at',
      'invitations.sent_at',
      'invitations.expires_at',
      'tenants.name as tenant_name',
      'tenants.status as tenant_status',
      'tenants.logo_url as tenant_logo_url',
      'roles.name as role',
      'giver.first_name as giver_first_name',
      'giver.last_name as giver_last_name',
    ])
    .select(sql<boolean>`invitations.expires_at <= now()`.as('expired'))

/** An invitation with the names that people see of it. */
export type Invitation = NonNullable<Awaited<ReturnType<typeof findInvitation>>>

export const findInvitation = (db: MasterDb, id: string) =>
  invitations(db).where('invitations.id', '=', id).executeTakeFirst()

/** A tenant's invitations that nobody has answered, newest first, and one more than `limit` when there are more. */
export const listInvitations = (
  db: MasterDb,
  tenantId: string,
  page: { limit: number; after: string | undefined },
) =>
  invitations(db)
    .where('invitations.tenant_id', '=', tenantId)
    .where('invitations.status', '=', 'open')
    .$if(page.after !== undefined, (query) => query.where('invitations.id', '<', page.after ?? ''))
    .orderBy('invitations.id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** What waits for the owner of an address: open, not expired, of tenants that can be joined. */
export const listInvitationsTo = (
  db: MasterDb,
  email: string,
  page: { limit: number; after: string | undefined },
) =>
  invitations(db)
    .where('invitations.email', '=', email)
    .where('invitations.status', '=', 'open')
    .where('invitations.expires_at', '>', sql<Date>`now()`)
    .where('tenants.status', 'in', ['pending', 'active'])
    .$if(page.after !== undefined, (query) => query.where('invitations.id', '<', page.after ?? ''))
    .orderBy('invitations.id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** The id of the invitation that a token was made for, and whether a later mail has replaced it; undefined for any other text. */
export const findByToken = async (
  db: MasterDb,
  token: string,
): Promise<{ id: string; replaced: boolean } | undefined> => {
  const hash = invitationTokenHash(token)
  if (hash === undefined) return undefined
  const current = await db
    .selectFrom('invitations')
    .select('id')
    .where('token_hash', '=', hash)
    .executeTakeFirst()
  if (current !== undefined) return { id: current.id, replaced: false }
  const replaced = await db
    .selectFrom('replaced_invitation_tokens')
    .select('invitation_id as id')
    .where('token_hash', '=', hash)
    .executeTakeFirst()
  return replaced && { id: replaced.id, replaced: true }
}

/** True when an open invitation to this address waits; one whose time is over is closed and counts no more. */
export const hasOpenInvitation = async (
  trx: MasterTransaction,
  tenantId: string,
  email: string,
): Promise<boolean> => {
  await trx
    .updateTable('invitations')
    .set({ status: 'expired', closed_at: sql<Date>`now()` })
    .where('tenant_id', '=', tenantId)
    .where('email', '=', email)
    .where('status', '=', 'open')
    .where('expires_at', '<=', sql<Date>`now()`)
    .execute()
  const open = await trx
    .selectFrom('invitations')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('email', '=', email)
    .where('status', '=', 'open')
    .executeTakeFirst()
  return open !== undefined
}

export type Giver = { personId: string; byPlatform: boolean }

export const insertInvitation = async (
  trx: MasterTransaction,
  invitation: { tenantId: string; email: string; roleId: string; giver: Giver; tokenHash: Buffer },
): Promise<{ id: string; expiresAt: Date }> => {
  const { id, expires_at } = await trx
    .insertInto('invitations')
    .values({
      id: newId(),
      tenant_id: invitation.tenantId,
      email: invitation.email,
      role_id: invitation.roleId,
      invited_by: invitation.giver.personId,
      by_platform: invitation.giver.byPlatform,
      token_hash: invitation.tokenHash,
      expires_at: lifetime(),
    })
    .returning(['id', 'expires_at'])
    .executeTakeFirstOrThrow()
  return { id, expiresAt: expires_at }
}

/** Gives an invitation a new token and giver; the old token is good for nothing from then on. Answers when the new one dies. */
export const replaceToken = async (
  trx: MasterTransaction,
  invitation: Pick<Invitation, 'id' | 'token_hash'>,
  giver: Giver,
  tokenHash: Buffer,
): Promise<Date> => {
  await trx
    .insertInto('replaced_invitation_tokens')
    .values({ token_hash: invitation.token_hash, invitation_id: invitation.id })
    .execute()
  const { expires_at } = await trx
    .updateTable('invitations')
    .set({
      token_hash: tokenHash,
      invited_by: giver.personId,
      by_platform: giver.byPlatform,
      sent_at: sql<Date>`now()`,
      expires_at: lifetime(),
    })
    .where('id', '=', invitation.id)
    .returning('expires_at')
    .executeTakeFirstOrThrow()
  return expires_at
}

/** Ends an open invitation; its link says so from then on. */
export const closeInvitation = async (
  trx: MasterTransaction,
  id: string,
  status: 'accepted' | 'declined' | 'cancelled',
): Promise<void> => {
  await trx
    .updateTable('invitations')
    .set({ status, closed_at: sql<Date>`now()` })
    .where('id', '=', id)
    .where('status', '=', 'open')
    .execute()
}

/** Ends the invitation to somebody who has become a member in another way. */
export const cancelInvitationTo = async (
  trx: MasterTransaction,
  tenantId: string,
  email: string,
): Promise<void> => {
  await trx
    .updateTable('invitations')
    .set({ status: 'cancelled', closed_at: sql<Date>`now()` })
    .where('tenant_id', '=', tenantId)
    .where('email', '=', email)
    .where('status', '=', 'open')
    .execute()
}
