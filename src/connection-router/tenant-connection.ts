import type { Socket } from 'node:net'
import pg from 'pg'
import type { AppError } from '../kernel/errors.ts'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { AnotherDatabase, endsConnection, spoilsConnection, unavailable, unopened } from './connect-errors.ts'
import type { CancelKey } from './doorbell.ts'
import { IdentityQuestion } from './identity-question.ts'
import { Overseer } from './overseer.ts'
import { learnCost } from './statement-texts.ts'
import type { ConnectionEvents, ConnectionSettings, Surroundings } from './surroundings.ts'
import { newTenantClient, type TenantClient } from './tenant-client.ts'
import { Pipeline } from './wire/pipeline.ts'
import type { Statement } from './wire/statement.ts'
import { isStale, mayHaveBegun, mayRunAgain, wasNoTry } from './wire/verdicts.ts'
import { slowTicks, type Ticks, type Watched } from './wire/watch.ts'

/** How long a polite goodbye may take before the socket is cut. */
const goodbyeMs = 3_000

/** Statements in flight on one connection: more gains nothing, and each of them is lost when the connection is. */
const maxInFlight = 64
/** Nor are statements sent behind others that should take longer than this together: 10 ms. */
const mostTicksAhead = 2

/**
 * One server connection of one tenant. Until the server has proved to be the tenant's own database it says nothing but the
 * question that proves it.
 */
export class TenantConnection implements Watched {
  readonly #client: TenantClient
  readonly #address: PostgresAddress
  readonly #connectTimeoutMs: number
  readonly #tenantId: string
  readonly #events: ConnectionEvents
  readonly #watch: Ticks
  readonly #pipeline: Pipeline
  readonly #identity: IdentityQuestion
  readonly #openedAt = performance.now()
  #watched = false
  #lost = false
  #spoiled = false
  #ended = false
  #goodbye: NodeJS.Timeout | undefined
  /** What the connection died of, as far as is known. */
  #cause: unknown
  /** Why nothing may run here any more. */
  #stopped: AppError | undefined
  #cancelKey: CancelKey | undefined
  readonly #overseer: Overseer

  constructor(
    address: PostgresAddress,
    settings: ConnectionSettings,
    events: ConnectionEvents,
    around: Surroundings,
  ) {
    this.#address = address
    this.#connectTimeoutMs = settings.connectTimeoutMs
    this.#events = events
    this.#watch = around.watch
    this.#tenantId = around.tenantId
    this.#client = newTenantClient(address, settings, () => {
      this.#identity.ask()
      events.loginSaid()
    })
    const { connection } = this.#client
    this.#pipeline = new Pipeline(connection, around.watch, {
      answered: (statement) => this.#answered(statement),
      error: (error, statement) => this.#failed(error, statement),
      confused: (what) => this.#die(new Error(`the server sent ${what} out of turn`)),
    })
    this.#identity = new IdentityQuestion(this.#pipeline)
    this.#overseer = new Overseer({
      address,
      statementTimeoutMs: settings.statementTimeoutMs,
      pipeline: this.#pipeline,
      counters: around.counters,
      askAboutSession: around.askAboutSession,
      cancelKey: () => this.#cancelKey,
      spoil: () => this.spoil(),
      write: (bytes) => connection.stream.write(bytes),
      bytesRead: () => (connection.stream as Socket).bytesRead,
      die: (cause) => this.#die(cause),
    })
    this.#client.once('connect', () => this.#pipeline.attach())
    this.#client.on('error', (error) => this.#broke(error))
    this.#client.once('end', () => this.#end())
    // When connect() itself throws (a port out of range), the client never says 'end'.
    connection.stream.once('close', () => setImmediate(() => this.#end()))
    connection.on('backendKeyData', ({ processID, secretKey }: { processID: number; secretKey: number }) => {
      this.#cancelKey = { processId: processID, secret: secretKey }
    })
  }

  /** Connects and checks whose database answers. Throws `database_unavailable`; then call `close`. */
  async open(): Promise<void> {
    // Over the whole of it: a server may also fall silent after the greeting.
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.#client.connection.stream.destroy()
    }, this.#connectTimeoutMs)
    try {
      await this.#client.connect()
      if (this.#client.owesProof) throw new Error('the server did not prove that it knows the password')
      await this.#checkIdentity()
    } catch (error) {
      this.#lost = true
      // Without an answer from the server there is no session whose end is worth waiting for.
      if (!(error instanceof pg.DatabaseError || this.#spoiled)) this.#client.connection.stream.destroy()
      throw unopened(error, this.#client.unheard, late && this.#client.challenged)
    } finally {
      clearTimeout(timer)
    }
  }

  async #checkIdentity(): Promise<void> {
    const reached = await this.#identity.answer()
    const { database, user } = this.#address
    if (reached?.database === database && reached.role === user && reached.login === user) return
    this.#spoiled = true
    this.#events.mismatch({ database: String(reached?.database), role: String(reached?.role) })
    throw new AnotherDatabase('another database answered')
  }

  /** True when the session is as clean as a new one, so that it may serve someone else. */
  get reusable(): boolean {
    return !this.#lost && !this.#spoiled && this.#pipeline.inFlight === 0 && this.#pipeline.status === 'I'
  }

  get inFlight(): number {
    return this.#pipeline.inFlight
  }

  /** Statements that the server keeps prepared for this connection. */
  get named(): number {
    return this.#pipeline.names.size
  }

  /**
   * True when another plain statement may be sent behind those in flight: they are not too many, should not take long,
   * and do not.
   */
  get hasRoom(): boolean {
    if (this.#lost || this.#spoiled || this.#goodbye !== undefined) return false
    const { inFlight, load, status } = this.#pipeline
    if (status !== 'I') return false
    return inFlight === 0 || (inFlight < maxInFlight && load < mostTicksAhead && !this.slow)
  }

  /** True while the oldest statement in flight has waited for long. */
  get slow(): boolean {
    const { head } = this.#pipeline
    return head !== undefined && this.#watch.now - head.sentAt >= slowTicks
  }

  /**
   * Sends one statement, which is settled with the answer: errors of the SQL itself as the driver makes them; a lost
   * connection as `database_unavailable`. Never throws.
   */
  run(statement: Statement): void {
    const { owner, text } = statement
    if (owner !== undefined && owner.tenantId !== this.#tenantId) {
      // The last wall, whatever went wrong before it.
      statement.fail(new Error("a statement came to another tenant's connection"))
      queueMicrotask(() => this.#events.settled())
      return
    }
    if (text.leavesState) this.#spoiled = true
    if (this.#lost || this.#stopped !== undefined) {
      statement.fail(this.#stopped ?? unavailable(this.#cause))
      return
    }
    try {
      // What was prepared may be gone when somebody has had a hand in the session.
      this.#pipeline.send(statement, !this.#spoiled)
    } catch (error) {
      statement.fail(error)
      // Not in the middle of whoever is just handing out statements.
      queueMicrotask(() => this.#events.settled())
      return
    }
    if (this.#watched) return
    this.#watched = true
    this.#watch.add(this)
  }

  /** Never to be used again, e.g. because a rollback failed. */
  spoil(): void {
    this.#spoiled = true
  }

  /**
   * Says goodbye and lets the server end the session, so that it is gone when the socket closes; statements under way
   * are finished first. The socket is cut when that takes too long.
   */
  close(): void {
    if (this.#ended || this.#goodbye !== undefined) return
    const { connection } = this.#client
    this.#goodbye = setTimeout(() => connection.stream.destroy(), goodbyeMs)
    // What is still to be sent goes first.
    if (this.#pipeline.inFlight > 0) setImmediate(() => connection.end())
    else this.#client.end().catch(() => {})
  }

  /**
   * Ends it although it is in use: what is in flight is cancelled on the server, an open transaction is rolled back, and
   * all of it and all that comes fails with `reason`.
   */
  stop(reason: AppError): void {
    if (this.#ended) return
    this.#stopped ??= reason
    this.#spoiled = true
    this.#overseer.cancelAll()
    this.close()
  }

  onTick(tick: number): boolean {
    this.#watched = !this.#ended && this.#pipeline.inFlight > 0
    if (this.#watched) this.#overseer.onTick(tick)
    return this.#watched
  }

  #answered(statement: Statement): void {
    const { error } = statement
    learnCost(statement.text, this.#watch.now - statement.headSince)
    if (error === undefined) {
      statement.succeed()
    } else if (isStale(statement) && this.#mayRepeat(statement)) {
      statement.restart()
      this.run(statement)
    } else {
      if (spoilsConnection(error)) this.#spoiled = true
      statement.fail(this.#callersError(statement))
    }
    this.#events.settled()
  }

  /** Cuts the socket at once, whatever is under way. */
  cut(): void {
    this.#die(new Error('the connection was cut'))
  }

  #callersError({ error, owner, named }: Statement): unknown {
    if (owner?.aborted === true) return owner.reason
    if (this.#stopped !== undefined) return this.#stopped
    return this.#lost || isStale({ error, named }) ? unavailable(error) : error
  }

  /** Its prepared form was out of date, so it did not run: it may be prepared anew, unless it ended a transaction. */
  #mayRepeat(statement: Statement): boolean {
    if (statement.named !== undefined) this.#pipeline.names.forget(statement.named)
    return statement.sent < 3 && this.#pipeline.status === 'I' && !this.#lost
  }

  #failed(error: unknown, statement: Statement | undefined): void {
    if (statement === undefined || endsConnection(error)) {
      this.#lost = true
      this.#cause ??= error
    }
    if (statement === undefined) this.#events.broken()
  }

  #broke(error: unknown): void {
    this.#lost = true
    this.#cause ??= error
    this.#events.broken()
  }

  #die(cause: unknown): void {
    this.#broke(cause)
    this.#client.connection.stream.destroy()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#lost = true
    clearTimeout(this.#goodbye)
    if (this.#pipeline.inFlight > 0) this.#abandon()
    this.#events.ended()
  }

  /** What is in flight is tried again, or fails. Mostly nothing is, and the error alone would cost more than all of `#end`. */
  #abandon(): void {
    const error = this.#stopped ?? unavailable(this.#cause ?? new Error('the connection was closed'))
    const begun = mayHaveBegun(this.#pipeline, this.#cause)
    const life = { openedAt: this.#openedAt, diedAt: performance.now() }
    for (const statement of this.#pipeline.abandon()) {
      if (wasNoTry(statement, life, this.#pipeline, this.#cause)) statement.sent -= 1
      statement.lostAt ??= life.diedAt
      if (mayRunAgain(statement, statement === begun, this.#cause))
        void statement.owner?.rescue(statement, error)
      else statement.fail(error)
    }
  }
}
