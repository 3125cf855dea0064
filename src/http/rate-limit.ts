import type { onRequestAsyncHookHandler, onResponseAsyncHookHandler } from 'fastify'
import { addressBlock } from '../access/known-devices.ts'
import type { Limit, RateLimits } from '../access/rate-limits.ts'
import { AppError } from '../kernel/errors.ts'
import { createTurnstile } from './turnstile.ts'

/** Options of a route that limit how often an address may ask for it. Spread them into the route's own. */
export type LimitByAddress = (
  limit: Limit,
  /** `failures`: an answer below 400 is taken back, so that an office full of people is no attack. */
  counts?: 'all' | 'failures',
) => { onRequest: onRequestAsyncHookHandler; onResponse?: onResponseAsyncHookHandler }

/**
 * Limits by the address of the peer, before the body is read; routes that do not ask for it pay nothing. What is limited is
 * dear, and so also begun one by one.
 */
export const limitByAddress = (limits: RateLimits): LimitByAddress => {
  const turn = createTurnstile()
  return (limit, counts = 'all') => ({
    onRequest: async (request, reply) => {
      await turn()
      const verdict = await limits.take(limit, addressBlock(request.ip))
      reply.header('ratelimit-limit', String(limit.burst))
      reply.header('ratelimit-remaining', String(verdict.remaining))
      reply.header('ratelimit-reset', String(verdict.resetSeconds))
      if (verdict.granted) return
      throw new AppError('rate_limited', 'Too many requests from your address; wait before you try again.', {
        retryAfter: verdict.retryAfterSeconds,
      })
    },
    ...(counts === 'all'
      ? {}
      : {
          onResponse: async (request, reply) => {
            if (reply.statusCode < 400) await limits.giveBack(limit, addressBlock(request.ip))
          },
        }),
  })
}
