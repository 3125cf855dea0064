import type { Limit, RateLimits } from '../access/rate-limits.ts'
import { AppError } from '../kernel/errors.ts'

/** What one tenant may do, whoever of its members does it. */
export const tenantLimits = {
  addMembers: { name: 'add members', burst: 100, everySeconds: 36 },
  invite: { name: 'invite', burst: 100, everySeconds: 36 },
} as const satisfies Record<string, Limit>

/** Tenants that one person creates: each costs a database, and a product may set up its customers through one account. */
export const tenantsOfOne: Limit = { name: 'create tenants', burst: 1_000, everySeconds: 10 }

/** Invitations to one address, over all tenants: nobody's mailbox is flooded. */
export const invitationsToOne: Limit = { name: 'invitations to one', burst: 10, everySeconds: 600 }

/** Takes one of the subject's limit; throws `rate_limited` when there is none left. */
export const limitSubject = async (limits: RateLimits, limit: Limit, subject: string): Promise<void> => {
  const { granted, retryAfterSeconds } = await limits.take(limit, subject)
  if (granted) return
  throw new AppError('rate_limited', 'That was too often; wait before you try again.', {
    retryAfter: retryAfterSeconds,
  })
}
