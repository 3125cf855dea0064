import { LRUCache } from 'lru-cache'

type Entry<V> = {
  value: V
  /** When it last became the most recently used. Milliseconds. */
  usedAt: number
  /** From then on whoever uses it has it looked up again, and waits for nothing. Milliseconds. */
  refreshAt: number
}

export type CachedLookupOptions<V> = {
  find: (key: string) => Promise<V | undefined>
  /** How many answers are kept; the least recently used goes first. */
  max: number
  /**
   * Milliseconds a found answer is kept when no invalidation comes: the backstop, not the rule. One that is in use is looked up
   * again in good time, so that nobody waits for it.
   */
  ttlMs: number
  /** Milliseconds a "there is none" is kept, and how many of them: a flood of made-up keys stays bounded. */
  missingTtlMs: number
  missingMax: number
  /** False while invalidations may be lost: then every answer is looked up again. */
  isFresh: () => boolean
}

/** Milliseconds between two looks at the clock: a look at every answer costs as much as the answer. */
const ttlResolution = 100

/**
 * Entries become the most recently used at most once in so many milliseconds: to move one costs three times as much as to
 * read it, and a second is no difference to what a minute keeps.
 */
const recencyMs = 1_000
/**
 * An answer in use is looked up again between these parts of the time that it is kept: somewhere between, as those that came
 * together must not all be asked for together.
 */
const refreshFrom = 0.5
const refreshTo = 0.75
/** When that fails or there is no room for it, again after this part. */
const refreshAgain = 0.1
/** More are not looked up in advance at a time: who waits for an answer comes first. */
const mostInAdvance = 50

type Running<V> = {
  result: Promise<V | undefined>
  /** An answer that it gets must not be kept or returned. */
  stale: boolean
  /** Begun while no invalidation could be lost. */
  readonly fresh: boolean
}

/**
 * Answers of a slow look-up, kept in bounded memory. Callers that ask for the same key at once share one look-up; an
 * invalidation during a look-up makes it start again, so an answer read before the change is never kept or returned.
 */
export class CachedLookup<V> {
  readonly #options: CachedLookupOptions<V>
  readonly #found: LRUCache<string, Entry<V>>
  readonly #missing: LRUCache<string, true>
  readonly #running = new Map<string, Running<V>>()

  constructor(options: CachedLookupOptions<V>) {
    this.#options = options
    this.#found = new LRUCache({ max: options.max, ttl: options.ttlMs, ttlResolution })
    this.#missing = new LRUCache({ max: options.missingMax, ttl: options.missingTtlMs, ttlResolution })
  }

  /** The remembered answer, without any look-up: undefined when there is none or it may be out of date. */
  peek(key: string): V | undefined {
    return this.#options.isFresh() ? this.#remembered(key)?.value : undefined
  }

  #remembered(key: string): Entry<V> | undefined {
    const entry = this.#found.peek(key)
    if (entry === undefined) return undefined
    const now = Date.now()
    if (now - entry.usedAt < recencyMs) return entry
    entry.usedAt = now
    if (now >= entry.refreshAt) {
      entry.refreshAt = now + this.#options.ttlMs * refreshAgain
      // When it fails, what is remembered stays until its time is over; then whoever asks hears why.
      if (this.#running.size < mostInAdvance) this.#ask(key, true).catch(() => {})
    }
    return this.#found.get(key)
  }

  async get(key: string): Promise<V | undefined> {
    const fresh = this.#options.isFresh()
    if (fresh) {
      const entry = this.#remembered(key)
      if (entry !== undefined) return entry.value
      if (this.#missing.has(key)) return undefined
    }
    return this.#ask(key, fresh)
  }

  async #ask(key: string, fresh: boolean): Promise<V | undefined> {
    const running = this.#running.get(key)
    // What has changed since it was begun may not have been heard of.
    if (running?.fresh === true && !fresh) running.stale = true
    if (running !== undefined && !running.stale) return running.result
    const started: Running<V> = { result: Promise.resolve(undefined), stale: false, fresh }
    this.#running.set(key, started)
    started.result = this.#lookUp(key, started)
    return started.result
  }

  async #lookUp(key: string, started: Running<V>): Promise<V | undefined> {
    try {
      const value = await this.#options.find(key)
      if (!started.stale) {
        if (value === undefined) {
          this.#found.delete(key)
          this.#missing.set(key, true)
        } else {
          const now = Date.now()
          const part = refreshFrom + (refreshTo - refreshFrom) * Math.random()
          this.#found.set(key, { value, usedAt: now, refreshAt: now + this.#options.ttlMs * part })
        }
        return value
      }
    } finally {
      if (this.#running.get(key) === started) this.#running.delete(key)
    }
    return this.get(key)
  }

  invalidate(key: string): void {
    this.#found.delete(key)
    this.#missing.delete(key)
    const running = this.#running.get(key)
    if (running !== undefined) running.stale = true
  }

  /** Forgets every remembered answer for which `matches` holds. Look-ups under way start again. */
  invalidateWhere(matches: (key: string, value: V | undefined) => boolean): void {
    for (const [key, entry] of this.#found.entries()) if (matches(key, entry.value)) this.#found.delete(key)
    this.#missing.clear()
    for (const running of this.#running.values()) running.stale = true
  }

  invalidateAll(): void {
    this.invalidateWhere(() => true)
  }

  get size(): number {
    return this.#found.size
  }
}
