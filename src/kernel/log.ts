import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Fields that may hold a secret. Their values never reach the log, wherever they stand up to two levels deep. */
const secretFields = new Set([
  ...['password', 'currentPassword', 'newPassword', 'token', 'accessToken', 'refreshToken', 'secret'],
  ...['authorization', 'cookie', 'set-cookie', 'x-csrf-token'],
])
const deepest = 2

type Fields = Record<string, unknown>

/**
 * The fields without the values that may be secret: the same object when there are none. pino's own redaction would cost
 * more than the rest of a log line, on every request.
 */
const censored = (fields: Fields, depth = 0): Fields => {
  let copy: Fields | undefined
  for (const key of Object.keys(fields)) {
    const value = fields[key]
    let shown = value
    if (secretFields.has(key)) shown = '[redacted]'
    else if (depth < deepest && typeof value === 'object' && value !== null && !(value instanceof Error)) {
      shown = censored(value as Fields, depth + 1)
    }
    if (shown === value) continue
    copy ??= Array.isArray(fields) ? ([...fields] as unknown as Fields) : { ...fields }
    copy[key] = shown
  }
  return copy ?? fields
}

type LoggedError = { type: string; message: string; code?: string; stack?: string; cause?: LoggedError }

/**
 * What of an error goes into the log. Only what is named here: errors of drivers carry whole clients with passwords, and
 * errors of Postgres carry rows.
 */
const toLoggedError = (error: unknown, depth = 0): LoggedError => {
  if (!(error instanceof Error))
    return { type: typeof error, message: 'something that is no Error was thrown' }
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(error.cause === undefined || depth >= 5 ? {} : { cause: toLoggedError(error.cause, depth + 1) }),
  }
}

/** JSON lines on standard output (or `destination`), with secrets redacted by field name. */
export const createLogger = (level: LogLevel, destination?: DestinationStream): Logger =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => censored(fields),
        bindings: (fields) => censored(fields),
      },
      serializers: { err: (error: unknown) => toLoggedError(error) },
    },
    destination ?? pino.destination({ dest: 1, sync: false }),
  )
