import type { AppError } from '../kernel/errors.ts'

/**
 * For `.catch()`: when this constraint of the tenant's database refused the statement, the caller gets `refusal`; any other
 * error goes on as it is. In a transaction nothing can follow.
 */
export const violated =
  (constraint: string, refusal: () => AppError) =>
  (error: unknown): never => {
    const known = (error ?? {}) as { code?: unknown; constraint?: unknown }
    // Integrity constraint violations are class 23.
    if (!String(known.code).startsWith('23') || known.constraint !== constraint) throw error
    const refused = refusal()
    refused.cause ??= error
    throw refused
  }
