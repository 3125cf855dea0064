import { sql } from 'kysely'
import { LRUCache } from 'lru-cache'
import { sha256 } from '../kernel/crypto.ts'
import type { MasterDb } from '../master/master.ts'

/** `burst` at once, and from then on one every `everySeconds`: in any time t at most burst + t / everySeconds. */
export type Limit = Readonly<{ name: string; burst: number; everySeconds: number }>

export type Verdict = Readonly<{
  granted: boolean
  /** How many more would be granted right now. */
  remaining: number
  /** Seconds until all of the burst is there again. */
  resetSeconds: number
  /** Seconds until the next one is granted; 0 when it would be now. */
  retryAfterSeconds: number
}>

/** Where takes are counted. A key names the limit and who is limited. */
export type LimitStore = {
  /** `fullIn`: seconds until everything taken will have come back. */
  take(key: Buffer, limit: Limit): Promise<{ granted: boolean; fullIn: number }>
  giveBack(key: Buffer, limit: Limit): Promise<void>
  clear(key: Buffer): Promise<void>
}

/** Counts over all nodes. Only for what is rare and dear, as sign-ins are: each take is a write there. */
export type RateLimits = {
  take(limit: Limit, subject: string): Promise<Verdict>
  /** Takes one take back, as it was no attempt of an attacker. */
  giveBack(limit: Limit, subject: string): Promise<void>
  /** Forgets all that was taken. */
  clear(limit: Limit, subject: string): Promise<void>
}

/** So long, in milliseconds, a refusal is repeated without asking the master: a flood must not become one of queries. */
const rememberedMs = 5_000
/** Refused keys that a node remembers; about 200 bytes each. */
const rememberedKeys = 20_000

const interval = (seconds: number) => sql`make_interval(secs => ${seconds})`

const toVerdict = ({ burst, everySeconds }: Limit, granted: boolean, fullIn: number): Verdict => ({
  granted,
  remaining: Math.max(0, Math.floor(burst - fullIn / everySeconds + 1e-6)),
  resetSeconds: Math.ceil(Math.max(0, fullIn)),
  retryAfterSeconds: Math.ceil(Math.max(0, fullIn - (burst - 1) * everySeconds)),
})

/** Counts in the master. One statement a take: who comes at the same time waits for the row and counts on. */
export const masterLimits = (db: MasterDb): LimitStore => ({
  take: async (key, { burst, everySeconds }) => {
    const after = sql`greatest(r.full_at, now()) + ${interval(everySeconds)}`
    const fits = sql`${after} <= now() + ${interval(burst * everySeconds)}`
    const { rows } = await sql<{ granted: boolean; full_in: number }>`
      insert into rate_limits as r (key, full_at, granted) values (${key}, now() + ${interval(everySeconds)}, true)
      on conflict (key) do update
        set full_at = case when ${fits} then ${after} else r.full_at end, granted = ${fits}
      returning granted, extract(epoch from full_at - now())::float8 as full_in`.execute(db)
    const [row] = rows
    if (row === undefined) throw new Error('a rate limit answered no row')
    return { granted: row.granted, fullIn: row.full_in }
  },
  giveBack: async (key, { everySeconds }) => {
    await db
      .updateTable('rate_limits')
      .set({ full_at: sql<Date>`full_at - ${interval(everySeconds)}` })
      .where('key', '=', key)
      .execute()
  },
  clear: async (key) => {
    await db.deleteFrom('rate_limits').where('key', '=', key).execute()
  },
})

/** Limits that all nodes share which count in this store. */
export const createRateLimits = (store: LimitStore): RateLimits => {
  /** Until when, on this node's own clock, a key is refused. */
  const refused = new LRUCache<string, number>({ max: rememberedKeys, ttl: rememberedMs })
  const keyOf = (limit: Limit, subject: string): Buffer => sha256(`${limit.name}\n${subject}`)
  return {
    take: async (limit, subject) => {
      const key = keyOf(limit, subject)
      const known = key.toString('base64')
      const wait = ((refused.get(known) ?? 0) - performance.now()) / 1_000
      if (wait > 0) return toVerdict(limit, false, wait + (limit.burst - 1) * limit.everySeconds)
      const { granted, fullIn } = await store.take(key, limit)
      const verdict = toVerdict(limit, granted, fullIn)
      if (!granted) refused.set(known, performance.now() + verdict.retryAfterSeconds * 1_000)
      return verdict
    },
    giveBack: async (limit, subject) => {
      const key = keyOf(limit, subject)
      refused.delete(key.toString('base64'))
      await store.giveBack(key, limit)
    },
    clear: async (limit, subject) => {
      const key = keyOf(limit, subject)
      refused.delete(key.toString('base64'))
      await store.clear(key)
    },
  }
}

/** Grants everything, for load tests. */
export const noRateLimits: RateLimits = {
  take: async ({ burst }) => ({ granted: true, remaining: burst, resetSeconds: 0, retryAfterSeconds: 0 }),
  giveBack: async () => {},
  clear: async () => {},
}
