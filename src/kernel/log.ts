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

/** JSON lines on standard output (or `destination`), with secrets redacted by field name. */
export const createLogger = (level: LogLevel, destination?: DestinationStream): Logger =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
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
