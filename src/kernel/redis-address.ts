/** A Redis server and who logs in there. */
export type RedisAddress = Readonly<{
  host: string
  port: number
  database: number
  /** `rediss`: encrypted, and the server's certificate is checked. */
  tls: boolean
  username: string | undefined
  password: string | undefined
}>

/**
 * Reads `redis://user:password@host:6379/0` or `rediss://…`. Throws an Error whose message says what is wrong without
 * repeating the address (it holds a password).
 */
export const parseRedisUrl = (text: string): RedisAddress => {
  const url = URL.parse(text)
  const database = /^\/?(\d{0,4})$/.exec(url?.pathname ?? 'none')?.[1]
  const known = url !== null && ['redis:', 'rediss:'].includes(url.protocol) && url.hostname !== ''
  if (!known || database === undefined || url.search !== '' || url.hash !== '') {
    throw new Error(
      'must be an address like redis://user:password@redis.example.com:6379/0, or rediss:// with TLS',
    )
  }
  return Object.freeze({
    host: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    database: Number(database),
    tls: url.protocol === 'rediss:',
    username: decodeURIComponent(url.username) || undefined,
    password: decodeURIComponent(url.password) || undefined,
  })
}
