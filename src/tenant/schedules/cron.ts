import { Cron } from 'croner'
import type { FieldError } from '../../kernel/errors.ts'

/** A cron expression and the place whose clocks it is read on. */
export type CronTime = { cron: string; timeZone: string }

/**
 * The next time after `after`, or undefined when there is none. Where clocks are put forward, a time of day that is left
 * out comes at the first moment after it; where they are put back, one that comes twice is taken the first time, while what
 * repeats within hours goes on through both. Throws for what `cronErrors` finds.
 */
export const nextTime = ({ cron, timeZone }: CronTime, after: Date): Date | undefined =>
  new Cron(cron, { timezone: timeZone, mode: '5-part', paused: true }).nextRun(after) ?? undefined

const isTimeZone = (name: string): boolean => {
  try {
    // Offsets such as +01:00 are taken too, and mean what they say.
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** What is wrong with it; nothing when it comes at least once. */
export const cronErrors = ({ cron, timeZone }: CronTime, now: Date): FieldError[] => {
  if (!isTimeZone(timeZone)) {
    return [{ path: '/timeZone', message: 'is no time zone; write one like Europe/Berlin' }]
  }
  try {
    if (nextTime({ cron, timeZone }, now) !== undefined) return []
    return [{ path: '/cron', message: 'never comes' }]
  } catch {
    return [{ path: '/cron', message: 'is no cron expression of five fields, such as 0 6 * * 1-5' }]
  }
}
