import { AppError } from '../kernel/errors.ts'

/**
 * A time of a query, with any offset. What has the right form may still be no moment (a leap second) or none that Postgres can
 * keep (the year 0): throws `validation_failed`.
 */
export const readTime = (text: string, field: string): Date => {
  const time = new Date(text)
  if (time.getTime() >= 0) return time
  throw new AppError(
    'validation_failed',
    `${field} must be a time since 1970, such as 2026-01-31T00:00:00Z.`,
    {
      errors: [{ path: `/${field}`, message: 'is no time' }],
    },
  )
}
