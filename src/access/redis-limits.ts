import { Redis, type Result } from 'ioredis'
import type { Logger } from '../kernel/log.ts'
import type { RedisAddress } from '../kernel/redis-address.ts'
import type { LimitStore } from './rate-limits.ts'

/** A Redis that does not answer within this many milliseconds is not there. */
const patienceMs = 500
/** After a failure it is left alone for so long: a sign-in does not wait for a server that hangs. */
const restMs = 2_000
/** Between two attempts to connect, in milliseconds. */
const reconnectMs = { step: 200, most: 5_000 }

/**
 * One take, in microseconds of the server's own clock. What is kept is when everything taken will have come back, as in
 * the table rate_limits; the key ends by itself then.
 */
const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local every = tonumber(ARGV[1])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local granted = full + every <= now + every * tonumber(ARGV[2])
if granted then
  full = full + every
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return { granted and 1 or 0, string.format('%.0f', full - now) }`

const giveBackScript = `
local full = redis.call('GET', KEYS[1])
if full then redis.call('SET', KEYS[1], string.format('%.0f', full - tonumber(ARGV[1])), 'KEEPTTL') end`

declare module 'ioredis' {
  interface RedisCommander<Context> {
    takeLimit(key: string, everyMicros: number, burst: number): Result<[number, string], Context>
    giveBackLimit(key: string, everyMicros: number): Result<null, Context>
  }
}

export type RedisLimits = LimitStore & {
  /** False while the master counts in its place. */
  isUp(): boolean
  close(): void
}

const connect = ({ host, port, database, tls, username, password }: RedisAddress): Redis =>
  new Redis({
    host,
    port,
    db: database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
    connectTimeout: patienceMs * 4,
    commandTimeout: patienceMs,
    // What can't be asked at once is asked of the master.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * reconnectMs.step, reconnectMs.most),
    scripts: {
      takeLimit: { lua: takeScript, numberOfKeys: 1 },
      giveBackLimit: { lua: giveBackScript, numberOfKeys: 1 },
    },
  })

/**
 * Counts limits in Redis, one round trip a take, and in `instead` while Redis can't be reached: nothing is ever let through
 * uncounted. The two do not know of each other's counts, so around a failure at most twice the burst is granted. Keys begin
 * with `prefix`, so that installations can share a server.
 */
export const createRedisLimits = (
  address: RedisAddress,
  prefix: string,
  instead: LimitStore,
  log: Logger,
): RedisLimits => {
  const redis = connect(address)
  const keyOf = (key: Buffer): string => `${prefix}:limit:${key.toString('base64url')}`
  let restUntil = 0
  let told = false
  const fail = (error: unknown): void => {
    restUntil = performance.now() + restMs
    if (!told) log.warn({ err: error }, 'Redis cannot be reached; limits are counted in the master')
    told = true
  }
  // Each attempt to connect says so again.
  redis.on('error', fail)
  const isUp = (): boolean => redis.status === 'ready' && performance.now() >= restUntil
  const orInstead = async <T>(ask: () => Promise<T>, other: () => Promise<T>): Promise<T> => {
    if (!isUp()) return other()
    try {
      const answer = await ask()
      if (told) log.info('Redis is back; it counts the limits again')
      told = false
      return answer
    } catch (error) {
      fail(error)
      return other()
    }
  }
  return {
    take: (key, limit) =>
      orInstead(
        async () => {
          const [granted, fullIn] = await redis.takeLimit(keyOf(key), limit.everySeconds * 1e6, limit.burst)
          return { granted: granted === 1, fullIn: Number(fullIn) / 1e6 }
        },
        () => instead.take(key, limit),
      ),
    giveBack: (key, limit) =>
      orInstead(
        async () => void (await redis.giveBackLimit(keyOf(key), limit.everySeconds * 1e6)),
        () => instead.giveBack(key, limit),
      ),
    clear: async (key) => {
      // In both: what was counted while Redis was away must not refuse anybody who was forgiven.
      await orInstead(
        async () => void (await redis.del(keyOf(key))),
        async () => {},
      )
      await instead.clear(key)
    },
    isUp,
    close: () => redis.disconnect(),
  }
}
