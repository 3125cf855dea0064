import type { FastifyRequest } from 'fastify'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'

/** Who an audit entry of the platform's routes names. */
export const byOf = (request: FastifyRequest) => ({
  actor: { kind: 'platform_admin', id: identityOf(request).personId } as const,
  caller: callerOf(request),
})
