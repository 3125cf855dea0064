import type { FastifyRequest } from 'fastify'
import { AppError } from '../kernel/errors.ts'

/**
 * The tenant comes from the token alone. Throws `not_found` for a request that names another one beside it, where clients
 * of other systems do: whoever sent it means that one, and would take what the token's tenant answers for its.
 */
export const refuseForeignHints = (request: FastifyRequest, tenantId: string): void => {
  const { headers } = request
  const { tenantId: inQuery } = request.query as Record<string, unknown>
  const isForeign = (hint: unknown): boolean => hint !== undefined && hint !== tenantId
  if (!isForeign(headers['x-tenant-id']) && !isForeign(headers['x-tenant']) && !isForeign(inQuery)) return
  throw new AppError(
    'not_found',
    'The request names a tenant that its token is not for; choose the tenant with POST /auth/switch.',
  )
}
