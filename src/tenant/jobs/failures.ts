import { isAppError } from '../../kernel/errors.ts'
import { JobError } from './job-type.ts'

/** Its effect was rolled back because the job is no longer this worker's. Nobody needs to be told. */
export class Overtaken extends Error {}

/** No fault of the job's: its transaction could not begin. It is still claimed. */
export class NotBegun extends Error {}

/** What the tenant's people read of a failed try: never the text of an error that nobody wrote for them. */
export const messageOf = (error: unknown): string => {
  if (error instanceof JobError || isAppError(error)) return error.message.slice(0, 1_000)
  return 'Something went wrong on our side; the operator finds it in the log by the id of the job.'
}

/**
 * What of an error may be logged: what kind it is and where it was thrown. Messages of the database and of libraries quote
 * what they were given, and that is the tenant's.
 */
export const withoutWords = (error: unknown): Record<string, unknown> => {
  if (!(error instanceof Error)) return { kind: typeof error }
  const { code } = error as { code?: unknown }
  const places = error.stack?.split('\n').filter((line) => /^\s+at /.test(line))
  return { kind: error.name, ...(typeof code === 'string' ? { code } : {}), at: places?.slice(0, 10) }
}
