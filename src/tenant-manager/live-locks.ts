import pg from 'pg'
import type { Logger } from '../kernel/log.ts'
import { clientOptions } from '../kernel/postgres-address.ts'
import { lockKey, whichHeld } from '../master/live-names.ts'
import type { Master } from '../master/master.ts'

/** Proof that the work called `name` is under way. It ends with `release`, or with this process. */
export type HeldLock = {
  readonly name: string
  /** True once the connection that held it is gone: another process may be at the same work now. */
  readonly lost: boolean
  /** Safe twice. */
  release(): Promise<void>
}

/** A dead machine is noticed after 25 seconds; a dead process at once, because its socket closes. */
const keepAlive = '-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3'

/**
 * Locks in the master that prove a process is alive: session-level advisory locks on one connection of their own, which
 * Postgres gives up when the process ends, however it ends. One name is held once over all processes, and once in this.
 */
export class LiveLocks {
  readonly #master: Master
  readonly #log: Logger
  readonly #held = new Map<string, { lost: boolean }>()
  #connecting: Promise<pg.Client> | undefined
  /** The last statement on the connection: a session takes one at a time. */
  #last: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(master: Master, log: Logger) {
    this.#master = master
    this.#log = log
  }

  /** Takes the lock, or returns undefined when someone holds it. Never waits for its holder. */
  async tryHold(name: string): Promise<HeldLock | undefined> {
    if (this.#held.has(name)) return undefined
    const state = { lost: false }
    this.#held.set(name, state)
    try {
      const client = await this.#client()
      if (await this.#ask(client, 'select pg_try_advisory_lock($1) as yes', name))
        return this.#heldLock(name, state, client)
    } catch (error) {
      this.#held.delete(name)
      throw error
    }
    this.#held.delete(name)
    return undefined
  }

  /** Those of `names` that some process holds right now. */
  whichHeld(names: readonly string[]): Promise<Set<string>> {
    return whichHeld(this.#master.db, names)
  }

  /** Gives up every lock and the connection. Safe twice. */
  async close(): Promise<void> {
    this.#closed = true
    const client = await this.#connecting?.catch(() => undefined)
    this.#connecting = undefined
    await this.#last
    await client?.end()
  }

  #heldLock(name: string, state: { lost: boolean }, client: pg.Client): HeldLock {
    let released = false
    const release = async (): Promise<void> => {
      if (released) return
      released = true
      try {
        if (!state.lost) await this.#ask(client, 'select pg_advisory_unlock($1) as yes', name)
      } catch {
        // The connection is gone, and the lock with it.
      } finally {
        if (this.#held.get(name) === state) this.#held.delete(name)
      }
    }
    return {
      name,
      get lost() {
        return state.lost
      },
      release,
    }
  }

  async #ask(client: pg.Client, question: string, name: string): Promise<boolean> {
    const answer = this.#last.then(() => client.query<{ yes: boolean }>(question, [lockKey(name)]))
    this.#last = answer.catch(() => {})
    return (await answer).rows[0]?.yes === true
  }

  #client(): Promise<pg.Client> {
    if (this.#closed) throw new Error('the locks are closed')
    this.#connecting ??= this.#connect().catch((error: unknown) => {
      this.#connecting = undefined
      throw error
    })
    return this.#connecting
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      ...clientOptions(this.#master.address),
      application_name: 'freehold locks',
      connectionTimeoutMillis: 5_000,
      options: keepAlive,
    })
    client.on('error', (error) => this.#log.warn({ err: error }, 'the connection that holds locks was lost'))
    client.on('end', () => this.#loseAll())
    await client.connect()
    return client
  }

  #loseAll(): void {
    this.#connecting = undefined
    for (const state of this.#held.values()) state.lost = true
    this.#held.clear()
  }
}
