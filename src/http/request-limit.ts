import type { FastifyReply } from 'fastify'
import type { Grant } from '../access/holdings.ts'
import type { RequestCounts } from '../access/request-counts.ts'
import { AppError } from '../kernel/errors.ts'
import { overLimit } from '../kernel/plan-limits.ts'

/** Counts a request in its tenant. Throws `rate_limited` when the tenant's plan allows no more of them in this minute. */
export type CountRequest = (grant: Grant, reply: FastifyReply) => void

/** `enforced` false: counts, and refuses nobody. */
export const countRequests =
  (counts: Pick<RequestCounts, 'take'>, enforced: boolean): CountRequest =>
  ({ tenantId, plan }, reply) => {
    const most = enforced ? plan.limits.requestsPerMinute : null
    const { granted, remaining, resetSeconds, retryAfterSeconds } = counts.take(tenantId, most)
    if (most === null) return
    reply.header('ratelimit-limit', String(most))
    reply.header('ratelimit-remaining', String(remaining))
    reply.header('ratelimit-reset', String(resetSeconds))
    if (granted) return
    throw new AppError(
      'rate_limited',
      `The plan of this tenant allows ${most} requests a minute, and all are used; wait for the next minute.`,
      { retryAfter: retryAfterSeconds, errors: [overLimit('requestsPerMinute', { most, used: most })] },
    )
  }
