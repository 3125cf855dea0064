import { sql } from 'kysely'
import type { Logger } from '../kernel/log.ts'
import type { MasterDb } from '../master/master.ts'
import type { Verdict } from './rate-limits.ts'

const minuteMs = 60_000
/** What nodes have counted reaches the others so soon when a limit is at stake, and so soon when nobody waits for it. */
const flushMs = { limited: 1_000, unlimited: 10_000 }
/** A node that has counted this part of a limit by itself tells the others at once. */
const tellAt = 0.1

type Count = {
  /** All that the master knows of, ours among them. */
  known: number
  /** On its way to the master. */
  sending: number
  /** Not sent yet. */
  fresh: number
}

/** Adds what a node has counted, and answers what all have. Of two minutes the later one counts. */
const add = async (db: MasterDb, minute: Date, counts: readonly [string, number][]) => {
  // In one order, so that two nodes never wait for each other in a circle.
  const sorted = counts.toSorted(([a], [b]) => (a < b ? -1 : 1))
  const { rows } = await sql<{ tenant_id: string; requests: number }>`
    insert into request_counts as r (tenant_id, minute, requests)
    select tenant_id, ${minute}::timestamptz, requests
      from unnest(${sorted.map(([id]) => id)}::uuid[], ${sorted.map(([, n]) => n)}::int[]) as c (tenant_id, requests)
    on conflict (tenant_id) do update
      set minute = greatest(r.minute, excluded.minute),
          requests = case when r.minute < excluded.minute then excluded.requests
                          when r.minute = excluded.minute then r.requests + excluded.requests
                          else r.requests end
    returning tenant_id, case when minute = ${minute}::timestamptz then requests else 0 end as requests`.execute(
    db,
  )
  return rows
}

/**
 * Counts the requests of each tenant in this minute (of the clock), in memory: a request waits for nothing. Nodes add what
 * they have counted to the master in the background and learn there what the others have, within a second or a tenth of the
 * limit, whichever comes first. So around a limit each further node may let a little more through; a node that is killed
 * takes what it had not told yet with it.
 */
export class RequestCounts {
  readonly #db: MasterDb
  readonly #log: Logger
  readonly #now: () => number
  #minute = 0
  #counts = new Map<string, Count>()
  #timer: NodeJS.Timeout | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #flushing: Promise<void> | undefined
  #closed = false

  /** `now`: milliseconds since 1970. */
  constructor(db: MasterDb, log: Logger, now: () => number) {
    this.#db = db
    this.#log = log
    this.#now = now
  }

  /** Counts one request, unless `most` are counted already. */
  take(tenantId: string, most: number | null): Verdict {
    const now = this.#now()
    const count = this.#countOf(tenantId, now)
    const used = count.known + count.sending + count.fresh
    const granted = most === null || used < most
    if (granted) {
      count.fresh += 1
      const due = most === null ? flushMs.unlimited : count.fresh >= most * tellAt ? 0 : flushMs.limited
      this.#flushWithin(due, now)
    }
    const left = Math.ceil((minuteMs - (now % minuteMs)) / 1_000)
    return {
      granted,
      remaining: most === null ? 0 : Math.max(0, most - used - (granted ? 1 : 0)),
      resetSeconds: left,
      retryAfterSeconds: granted ? 0 : left,
    }
  }

  /** The tenant's requests in this minute, over all nodes, as far as they have told. */
  async used(tenantId: string): Promise<number> {
    await this.flush()
    const row = await this.#db
      .selectFrom('request_counts')
      .select('requests')
      .where('tenant_id', '=', tenantId)
      .where('minute', '=', new Date(Math.floor(this.#now() / minuteMs) * minuteMs))
      .executeTakeFirst()
    return row?.requests ?? 0
  }

  /** Tells the master now. What can't be told is told with the next. */
  async flush(): Promise<void> {
    await this.#flushing
    this.#flushing ??= this.#send().finally(() => {
      this.#flushing = undefined
    })
    await this.#flushing
  }

  /** Tells what is left, and counts for nobody any more. Safe twice. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.flush()
  }

  #countOf(tenantId: string, now: number): Count {
    const minute = Math.floor(now / minuteMs)
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#counts = new Map()
    }
    const known = this.#counts.get(tenantId)
    if (known !== undefined) return known
    const count = { known: 0, sending: 0, fresh: 0 }
    this.#counts.set(tenantId, count)
    return count
  }

  #flushWithin(milliseconds: number, now: number): void {
    const dueAt = now + milliseconds
    if (this.#closed || dueAt >= this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => void this.flush(), milliseconds).unref()
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer)
    this.#dueAt = Number.POSITIVE_INFINITY
    const minute = new Date(this.#minute * minuteMs)
    const counted = [...this.#counts].filter(([, { fresh }]) => fresh > 0)
    if (counted.length === 0) return
    for (const [, count] of counted) {
      count.sending = count.fresh
      count.fresh = 0
    }
    try {
      const rows = await add(
        this.#db,
        minute,
        counted.map(([id, { sending }]) => [id, sending]),
      )
      const known = new Map(rows.map(({ tenant_id, requests }) => [tenant_id, requests]))
      for (const [id, count] of counted) {
        count.known = Math.max(known.get(id) ?? 0, count.known + count.sending)
        count.sending = 0
      }
    } catch (error) {
      for (const [, count] of counted) {
        count.fresh += count.sending
        count.sending = 0
      }
      this.#log.warn({ err: error }, 'counted requests could not be told to the master')
      if (!this.#closed) this.#flushWithin(flushMs.unlimited, this.#now())
    }
  }
}
