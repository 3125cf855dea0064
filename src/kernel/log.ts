import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Fields that may hold a secret, wherever they stand up to two levels deep. Their values never reach the log. */
const secretFields = [
  'password',
  'currentPassword',
  'newPassword',
  'token',
  'accessToken',
  'refreshToken',
  'secret',
]
const secretHeaders = ['authorization', 'cookie', 'set-cookie', 'x-csrf-token']

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
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => toLoggedError(error) },
      redact: {
        paths: [
          ...secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
          ...secretHeaders.flatMap((h) => [`headers["${h}"]`, `*.headers["${h}"]`]),
        ],
        censor: '[redacted]',
      },
    },
    destination ?? pino.destination({ dest: 1, sync: false }),
  )
