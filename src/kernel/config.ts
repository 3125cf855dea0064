import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { OperatorError } from './errors.ts'
import { type LogLevel, logLevels } from './log.ts'
import { readOrigins } from './origins.ts'
import { type PostgresAddress, parsePostgresUrl } from './postgres-address.ts'
import { parseRedisUrl, type RedisAddress } from './redis-address.ts'
import { readSignInProviders, type SignInProvider } from './sign-in-providers.ts'
import { parseSmtpUrl, type SmtpAddress } from './smtp-address.ts'

/** Everything that the environment decides, read once at start, checked and frozen. Passed by hand from `main`. */
export type Config = Readonly<{
  /** Folder for the embedded server, the master key and other state of this installation; absolute. */
  dataDir: string
  /** What this process does: serve HTTP, run background work, or both. */
  role: 'all' | 'api' | 'worker'
  host: string
  port: number
  /** The address people use, without a trailing slash; also the issuer and audience of access tokens. */
  publicUrl: string
  logLevel: LogLevel
  /** `undefined`: Freehold starts a server of its own under `dataDir`. */
  external: Readonly<{ master: PostgresAddress; provisioner: PostgresAddress }> | undefined
  /** 32 bytes; `undefined`: made once and kept under `dataDir` (embedded only). */
  masterKey: Buffer | undefined
  /** The key that `masterKey` takes the place of, or is to: what is sealed under either opens. */
  previousMasterKey: Buffer | undefined
  accessTokenSeconds: number
  /** Who may make an account: anybody, only the invited, or nobody. */
  signUp: 'open' | 'invited' | 'closed'
  /** Whether an address must be proved before there is an account, or may be proved later. */
  verifyEmail: 'before' | 'after'
  /** Other providers that people may sign in with. */
  signInProviders: readonly SignInProvider[]
  /** Origins besides `publicUrl` that people may be sent back to after that. */
  returnOrigins: readonly string[]
  /** False only for load tests, on loopback. */
  rateLimits: boolean
  /** Where limits are counted; `undefined`: in the master. */
  redis: RedisAddress | undefined
  /** Origins besides `publicUrl` whose pages may read answers and send credentials; none unless configured. */
  corsOrigins: readonly string[]
  /** Addresses or networks whose `x-forwarded-for` is believed; none unless configured. */
  trustedProxies: readonly string[]
  /** Where mail is handed in; `undefined`: it is written to files under `dataDir`. */
  smtp: SmtpAddress | undefined
  mailFrom: Readonly<{ name: string; address: string }>
  admin: Readonly<{ email: string; password: string | undefined }>
  /** Server connections that one cluster may receive for tenants from all nodes; `undefined`: from its `max_connections`. */
  connectionBudget: number | undefined
  tenantMaxConnections: number
  spareDatabases: number
  /** Days until a deleted tenant is erased; until then it can be restored. */
  tenantGraceDays: number
  /** Days after which entries of tenants' audit logs are removed; undefined: never. */
  auditRetentionDays: number | undefined
  /** Days for which the audit log of an erased tenant is kept. */
  auditArchiveDays: number
  /** Bearer token for `/metrics`; without one only loopback may read them. */
  metricsToken: string | undefined
}>

type Environment = Readonly<Record<string, string | undefined>>

/** Reads one variable: returns its value, or throws an Error whose message says what the variable accepts. */
type Reader<T> = (text: string) => T

const integer =
  (min: number, max: number): Reader<number> =>
  (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new Error(`must be a whole number from ${min} to ${max}`)
    return value
  }

const oneOf =
  <const T extends string>(...values: readonly T[]): Reader<T> =>
  (text) => {
    const value = values.find((v) => v === text)
    if (value === undefined) throw new Error(`must be one of ${values.join(', ')}`)
    return value
  }

const httpUrl: Reader<string> = (text) => {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new Error('must be an address like https://api.example.com')
  }
  return url.href.replace(/\/+$/, '')
}

const hostName: Reader<string> = (text) => {
  if (isIP(text) === 0 && !/^[a-z0-9.-]{1,253}$/i.test(text))
    throw new Error('must be a host name or an IP address')
  return text
}

const key: Reader<Buffer> = (text) => {
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64')
  if (bytes.byteLength !== 32)
    throw new Error('must be 32 bytes in base64 or hex; make one with: openssl rand -base64 32')
  return bytes
}

const emailAddress: Reader<string> = (text) => {
  if (!/^[^\s@<>()",;:\\]+@[^\s@<>()",;:\\]+\.[^\s@.]+$/.test(text) || text.length > 254) {
    throw new Error('must be an email address')
  }
  return text.toLowerCase()
}

const sender: Reader<Config['mailFrom']> = (text) => {
  const [, name = '', bracketed] = /^([^<>"\p{Cc}]*)<([^<>]+)>$/u.exec(text) ?? []
  try {
    return Object.freeze({ name: name.trim(), address: emailAddress(bracketed ?? text) })
  } catch (cause) {
    throw new Error('must be an email address, or one like Freehold <no-reply@example.com>', { cause })
  }
}

const adminPassword: Reader<string> = (text) => {
  if (text.length < 8 || text.length > 256) throw new Error('must have 8 to 256 characters')
  return text
}

const secretText: Reader<string> = (text) => {
  if (text.length < 16) throw new Error('must have at least 16 characters')
  return text
}

/** Addresses and networks in CIDR notation, separated by commas. */
const networks: Reader<readonly string[]> = (text) => {
  const parts = text.split(',').map((part) => part.trim())
  for (const part of parts) {
    const [address = '', length, more] = part.split('/')
    const bits = { 4: 32, 6: 128 }[isIP(address)]
    // A network of all addresses would let anybody say where they come from.
    const isNetwork = length === undefined || (/^[1-9]\d{0,2}$/.test(length) && Number(length) <= (bits ?? 0))
    if (bits === undefined || !isNetwork || more !== undefined)
      throw new Error('must be addresses or networks like 10.0.0.0/8, separated by commas')
  }
  return Object.freeze(parts)
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\./.test(host)

const defaultSender = Object.freeze({ name: 'Freehold', address: 'freehold@localhost.localdomain' })

/** The master keys that the environment gives: none, one, or two while one takes the place of the other. */
export const configuredKeys = ({
  masterKey,
  previousMasterKey,
}: Pick<Config, 'masterKey' | 'previousMasterKey'>): Buffer | readonly [Buffer, Buffer] | undefined =>
  masterKey === undefined || previousMasterKey === undefined ? masterKey : [masterKey, previousMasterKey]

/**
 * Checks the environment and returns the frozen configuration. Empty variables count as not set. Relative paths start
 * at `cwd`. Throws an OperatorError with one line per mistake; no line repeats a secret value.
 */
export const loadConfig = (env: Environment, cwd: string = process.cwd()): Config => {
  const mistakes: string[] = []
  const read = <T, F>(name: string, reader: Reader<T>, fallback: F): T | F => {
    const text = env[name]?.trim()
    if (text === undefined || text === '') return fallback
    try {
      return reader(text)
    } catch (error) {
      mistakes.push(`${name} ${error instanceof Error ? error.message : String(error)}`)
      return fallback
    }
  }

  const master = read('MASTER_DATABASE_URL', parsePostgresUrl, undefined)
  const provisioner = read('PROVISIONER_DATABASE_URL', parsePostgresUrl, undefined)
  const masterKey = read('MASTER_KEY', key, undefined)
  const previousMasterKey = read('MASTER_KEY_PREVIOUS', key, undefined)
  const embedded = (env.MASTER_DATABASE_URL ?? '').trim() === ''
  if (!embedded && (env.MASTER_KEY ?? '').trim() === '') {
    mistakes.push('MASTER_KEY is required with MASTER_DATABASE_URL; make one with: openssl rand -base64 32')
  }
  if (previousMasterKey !== undefined && (env.MASTER_KEY ?? '').trim() === '') {
    mistakes.push('MASTER_KEY_PREVIOUS is only used with MASTER_KEY; set both or neither')
  }
  if (masterKey !== undefined && previousMasterKey?.equals(masterKey) === true) {
    mistakes.push('MASTER_KEY_PREVIOUS must be another key than MASTER_KEY')
  }
  if (embedded && provisioner !== undefined) {
    mistakes.push('PROVISIONER_DATABASE_URL is only used with MASTER_DATABASE_URL; set both or neither')
  }
  if (master && provisioner && (master.host !== provisioner.host || master.port !== provisioner.port)) {
    mistakes.push('PROVISIONER_DATABASE_URL must name the same server as MASTER_DATABASE_URL')
  }

  const smtp = read('SMTP_URL', parseSmtpUrl, undefined)
  if (smtp !== undefined && (env.MAIL_FROM ?? '').trim() === '') {
    mistakes.push('MAIL_FROM is required with SMTP_URL; it is the address that mails come from')
  }

  const port = read('PORT', integer(0, 65535), 4000)
  const host = read('HOST', hostName, embedded ? '127.0.0.1' : '0.0.0.0')
  const config: Config = {
    dataDir: resolve(cwd, read('DATA_DIR', String, '.freehold')),
    role: read('ROLE', oneOf('all', 'api', 'worker'), 'all'),
    host,
    port,
    publicUrl: read(
      'PUBLIC_URL',
      httpUrl,
      `http://${host === '127.0.0.1' || host === '0.0.0.0' ? 'localhost' : host}:${port}`,
    ),
    logLevel: read('LOG_LEVEL', oneOf(...logLevels), 'info'),
    external: master && Object.freeze({ master, provisioner: provisioner ?? master }),
    masterKey,
    previousMasterKey,
    accessTokenSeconds: read('JWT_EXPIRATION', integer(30, 86_400), 900),
    signUp: read('SIGN_UP', oneOf('open', 'invited', 'closed'), 'open'),
    verifyEmail: read('VERIFY_EMAIL', oneOf('before', 'after'), embedded ? 'after' : 'before'),
    signInProviders: readSignInProviders(env, mistakes),
    returnOrigins: read('RETURN_ORIGINS', readOrigins, Object.freeze([])),
    rateLimits: read('RATE_LIMITS', oneOf('on', 'off'), 'on') === 'on',
    redis: read('REDIS_URL', parseRedisUrl, undefined),
    corsOrigins: read('CORS_ORIGINS', readOrigins, Object.freeze([])),
    trustedProxies: read('TRUSTED_PROXIES', networks, Object.freeze([])),
    smtp,
    mailFrom: read('MAIL_FROM', sender, defaultSender),
    admin: Object.freeze({
      email: read('ADMIN_EMAIL', emailAddress, 'admin@freehold.local'),
      password: read('ADMIN_PASSWORD', adminPassword, undefined),
    }),
    connectionBudget: read('CONNECTION_BUDGET', integer(4, 10_000), undefined),
    tenantMaxConnections: read('TENANT_MAX_CONNECTIONS', integer(1, 100), 8),
    spareDatabases: read('SPARE_DATABASES', integer(0, 200), 4),
    tenantGraceDays: read('TENANT_GRACE_DAYS', integer(1, 365), 30),
    auditRetentionDays: read('AUDIT_RETENTION_DAYS', integer(30, 36_500), undefined),
    auditArchiveDays: read('AUDIT_ARCHIVE_DAYS', integer(0, 3_650), 90),
    metricsToken: read('METRICS_TOKEN', secretText, undefined),
  }
  if (!config.rateLimits && !isLoopback(host)) {
    mistakes.push('RATE_LIMITS can only be off when HOST is loopback, such as 127.0.0.1')
  }
  if (mistakes.length > 0) throw new OperatorError(mistakes)
  return Object.freeze(config)
}
