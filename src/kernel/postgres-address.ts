/**
 * Where a Postgres database is and who logs in there. `host` that starts with `/` is a folder with a unix socket.
 * TLS: `disable`, `no-verify` (encrypted, certificate not checked) or `verify-full`.
 */
export type PostgresAddress = Readonly<{
  host: string
  port: number
  database: string
  user: string
  password: string
  ssl: TlsMode
}>

export type TlsMode = 'disable' | 'no-verify' | 'verify-full'

const tlsModes: Record<string, TlsMode> = {
  disable: 'disable',
  'no-verify': 'no-verify',
  require: 'verify-full',
  'verify-ca': 'verify-full',
  'verify-full': 'verify-full',
}

/**
 * Reads `postgres://user:password@host:port/database?sslmode=…`. `?host=/folder` names a unix socket.
 * Throws an Error whose message says what is wrong without repeating the address (it holds a password).
 */
export const parsePostgresUrl = (text: string): PostgresAddress => {
  // libpq allows no host when ?host= names a socket; the URL standard does not.
  const url = URL.parse(text.replace(/^(postgres(?:ql)?:\/\/[^@/]*@)\//, '$1localhost/'))
  if (url === null || !['postgres:', 'postgresql:'].includes(url.protocol)) {
    throw new Error('must be an address like postgres://user:password@host:5432/database')
  }
  const database = decodeURIComponent(url.pathname.slice(1))
  const user = decodeURIComponent(url.username)
  if (database === '' || user === '') throw new Error('must name a user and a database')
  const mode = url.searchParams.get('sslmode') ?? 'disable'
  const ssl = tlsModes[mode]
  if (ssl === undefined)
    throw new Error(`has an unknown sslmode; use one of ${Object.keys(tlsModes).join(', ')}`)
  const host = url.searchParams.get('host') ?? decodeURIComponent(url.hostname)
  return Object.freeze({
    host: host.replace(/^\[(.*)\]$/, '$1') || 'localhost',
    port: url.port === '' ? 5432 : Number(url.port),
    database,
    user,
    password: decodeURIComponent(url.password),
    ssl,
  })
}

/** The options that `pg` takes for this address. Timeouts are in milliseconds. */
export const clientOptions = (
  address: PostgresAddress,
): {
  host: string
  port: number
  database: string
  user: string
  password: string
  ssl: boolean | { rejectUnauthorized: boolean }
} => ({
  host: address.host,
  port: address.port,
  database: address.database,
  user: address.user,
  password: address.password,
  ssl: address.ssl === 'disable' ? false : { rejectUnauthorized: address.ssl === 'verify-full' },
})
