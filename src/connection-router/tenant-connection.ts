import pg from 'pg'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { clientOptions } from '../kernel/postgres-address.ts'
import { endsConnection, spoilsConnection, unavailable } from './connect-errors.ts'
import { leavesSessionState } from './session-guard.ts'

export type ConnectionSettings = Readonly<{
  statementTimeoutMs: number
  connectTimeoutMs: number
}>

/** What a connection tells its owner. `ended` comes exactly once, when the socket is closed, connected or not. */
export type ConnectionEvents = {
  /** It died while nobody used it, or with a statement under way. `ended` follows. */
  broken(): void
  ended(): void
  /** It reached another database or role than its address names. */
  mismatch(reached: { database: string; role: string }): void
}

/** `command` is the word the server answered with, e.g. INSERT. */
export type StatementResult<R> = { command: string; rowCount: number | null; rows: R[] }

/** How long a polite goodbye may take before the socket is cut. */
const goodbyeMs = 3_000
/** A session that holds a transaction open and does nothing blocks vacuum and others' locks. */
const idleInTransactionMs = 30_000
/** Below the statement timeout, so that a queue behind one lock shows as what it is. */
const lockTimeoutMs = 10_000

/**
 * A role may change its own defaults; what a connection asks for at its start wins over them. The driver reads and
 * writes text in these forms, and quoting is only safe with standard strings.
 */
const startOptions = [
  'client_encoding=UTF8',
  'DateStyle=ISO',
  'TimeZone=UTC',
  'standard_conforming_strings=on',
]

const identityQuery = 'select current_database() as database, current_user as role, session_user as login'

/** One server connection of one tenant. It speaks only after the server has proved to be the tenant's own database. */
export class TenantConnection {
  readonly #client: pg.Client
  readonly #address: PostgresAddress
  readonly #events: ConnectionEvents
  readonly #connectTimeoutMs: number
  #lost = false
  #spoiled = false
  /** True from a statement's start until the server says it is ready for the next one. */
  #running = false
  #onReady: (() => void) | undefined
  #ended = false
  #goodbye: NodeJS.Timeout | undefined

  constructor(address: PostgresAddress, settings: ConnectionSettings, events: ConnectionEvents) {
    this.#address = address
    this.#events = events
    this.#connectTimeoutMs = settings.connectTimeoutMs
    this.#client = new pg.Client({
      ...clientOptions(address),
      application_name: 'freehold',
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      statement_timeout: settings.statementTimeoutMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
      lock_timeout: Math.min(lockTimeoutMs, settings.statementTimeoutMs),
      options: startOptions.map((option) => `-c ${option}`).join(' '),
    })
    this.#client.on('error', () => {
      this.#lost = true
      this.#events.broken()
    })
    this.#client.once('end', () => this.#end())
    // When connect() itself throws (a port out of range), the client never says 'end'.
    this.#client.connection.stream.once('close', () => setImmediate(() => this.#end()))
    this.#client.connection.on('readyForQuery', () => {
      this.#running = false
      this.#onReady?.()
    })
  }

  /** Connects and checks whose database answers. Throws `database_unavailable`; then call `close`. */
  async open(): Promise<void> {
    // Over the whole of it: a server may also fall silent after the greeting.
    const timer = setTimeout(() => this.#client.connection.stream.destroy(), this.#connectTimeoutMs)
    try {
      await this.#client.connect()
      const { rows } = await this.#client.query<{ database: string; role: string; login: string }>(
        identityQuery,
      )
      const [reached] = rows
      const { database, user } = this.#address
      if (reached?.database === database && reached.role === user && reached.login === user) return
      this.#events.mismatch({ database: String(reached?.database), role: String(reached?.role) })
    } catch (error) {
      this.#lost = true
      // Without an answer from the server there is no session whose end is worth waiting for.
      if (!(error instanceof pg.DatabaseError)) this.#client.connection.stream.destroy()
      throw unavailable(error)
    } finally {
      clearTimeout(timer)
    }
    this.#spoiled = true
    throw unavailable(new Error('another database answered'))
  }

  /** True when the session is as clean as a new one, so that it may serve someone else. */
  get reusable(): boolean {
    return !this.#lost && !this.#spoiled && !this.#running && this.#client.getTransactionStatus() === 'I'
  }

  /**
   * Runs one statement. Errors of the SQL itself come as the driver throws them; a lost connection as
   * `database_unavailable`.
   */
  async query<R>(text: string, parameters: readonly unknown[]): Promise<StatementResult<R>> {
    if (leavesSessionState(text)) this.#spoiled = true
    this.#running = true
    // The extended protocol makes the server refuse two statements in one text.
    const query = { text, values: [...parameters], queryMode: 'extended' }
    try {
      return await this.#client.query<R & pg.QueryResultRow>(query)
    } catch (error) {
      if (spoilsConnection(error)) this.#spoiled = true
      if (endsConnection(error)) this.#lost = true
      // The error comes before the server is ready again, or before the socket is closed.
      if (error instanceof pg.DatabaseError) await this.#readyOrEnded()
      throw this.#lost ? unavailable(error) : error
    }
  }

  /** Never to be used again, e.g. because a rollback failed. */
  spoil(): void {
    this.#spoiled = true
  }

  /**
   * Says goodbye and lets the server end the session, so that it is gone when the socket closes; a statement under
   * way is finished first. The socket is cut when that takes too long.
   */
  close(): void {
    if (this.#ended || this.#goodbye !== undefined) return
    const { connection } = this.#client
    this.#goodbye = setTimeout(() => connection.stream.destroy(), goodbyeMs)
    if (this.#running) connection.end()
    else this.#client.end().catch(() => {})
  }

  #readyOrEnded(): Promise<void> {
    if (!this.#running || this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onReady = resolve
    })
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#lost = true
    clearTimeout(this.#goodbye)
    this.#onReady?.()
    this.#events.ended()
  }
}
