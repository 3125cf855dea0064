import type { Connection } from 'pg'
import { executionMessages, refuseCopy } from './messages.ts'
import { NamedStatements } from './named-statements.ts'
import { type Field, noRows, readRow, rowShape } from './row-shape.ts'
import type { Statement } from './statement.ts'
import type { Ticks } from './watch.ts'

/** What a pipeline tells the connection whose statements it carries. */
export type PipelineEvents = {
  /** The server has answered this statement, with rows or with an error, and is ready for the next. */
  answered(statement: Statement): void
  /** An error came: for the oldest in flight, or (undefined) out of the blue. `answered` follows unless it was fatal. */
  error(error: unknown, statement: Statement | undefined): void
  /** The server said something that fits nothing we asked. */
  confused(what: string): void
}

/** Everything the driver's client listens to for its own queries; after the login the pipeline reads instead of it. */
const messages = [
  ...['errorMessage', 'readyForQuery', 'rowDescription', 'dataRow', 'commandComplete', 'parseComplete'],
  ...['portalSuspended', 'emptyQuery', 'copyInResponse', 'copyData', 'notification', 'notice'],
]

/** So many statements are sent at once at most: enough to save system calls, few enough for the server to start early. */
const batch = 16

/**
 * Statements on one connection, sent without waiting for the answers before (libpq calls it pipeline mode). Each is a
 * transaction of its own with its own Sync, so an error touches only itself; answers come in order.
 */
export class Pipeline {
  readonly names = new NamedStatements()
  readonly #connection: Connection
  readonly #watch: Ticks
  readonly #events: PipelineEvents
  #head: Statement | undefined
  #tail: Statement | undefined
  #inFlight = 0
  #load = 0
  #status = 'I'
  #outgoing: Buffer[] = []
  #flushing = false
  #batches = 0
  readonly #flushSoon = (): void => this.flush()
  /** The tick of the last message from the server. */
  heardAt = 0

  constructor(connection: Connection, watch: Ticks, events: PipelineEvents) {
    this.#connection = connection
    this.#watch = watch
    this.#events = events
  }

  /** Takes the connection over from the client that has logged in on it. */
  attach(): void {
    const connection = this.#connection
    for (const message of messages) connection.removeAllListeners(message)
    connection.on('parseComplete', () => this.#parsed())
    connection.on('rowDescription', ({ fields }: { fields: Field[] }) => this.#described(fields))
    connection.on('noData', () => this.#described([]))
    connection.on('dataRow', ({ fields }: { fields: (string | null)[] }) => this.#row(fields))
    connection.on('commandComplete', ({ text }: { text: string }) => this.#completed(text))
    connection.on('copyInResponse', () => this.#connection.stream.write(refuseCopy))
    connection.on('errorMessage', (error: Error) => this.#failed(error))
    connection.on('readyForQuery', ({ status }: { status: string }) => this.#ready(status))
  }

  /** The oldest statement that is not answered yet. */
  get head(): Statement | undefined {
    return this.#head
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Writes to the socket so far. */
  get batches(): number {
    return this.#batches
  }

  /** How long the server will take for everything in flight, as far as is known; in ticks of the watch. */
  get load(): number {
    return this.#load
  }

  /** `I` idle, `T` in a transaction, `E` in a failed one. */
  get status(): string {
    return this.#status
  }

  /** Throws what a parameter throws that can't be written; then nothing was sent. */
  send(statement: Statement, mayName: boolean): void {
    const { text, parameters } = statement
    const known = mayName ? this.names.ready(text.sql) : undefined
    const named = known ?? (mayName && text.worthNaming ? this.names.prepare(text.sql) : undefined)
    try {
      const execution = executionMessages(named?.name ?? '', parameters, named?.shape === undefined)
      if (known === undefined) this.#outgoing.push(this.names.parse(named?.name ?? '', text.sql))
      this.#outgoing.push(execution)
    } catch (error) {
      if (known === undefined && named !== undefined) this.names.forget(named)
      throw error
    }
    statement.named = named
    statement.shape = named?.shape
    statement.sent += 1
    statement.sentAt = this.#watch.now
    statement.batch = this.#batches + 1
    this.#append(statement)
    if (this.#outgoing.length >= batch) this.flush()
    else if (!this.#flushing) {
      this.#flushing = true
      setImmediate(this.#flushSoon)
    }
  }

  /** Everything in flight, oldest first, which nobody will answer any more. */
  abandon(): Statement[] {
    const left: Statement[] = []
    for (let statement = this.#head; statement !== undefined; statement = statement.next) left.push(statement)
    this.#head = undefined
    this.#tail = undefined
    this.#inFlight = 0
    this.#load = 0
    this.#outgoing = []
    return left
  }

  #append(statement: Statement): void {
    if (this.#tail === undefined) {
      this.#head = statement
      statement.headSince = this.#watch.now
      this.heardAt = this.#watch.now
    } else {
      this.#tail.next = statement
    }
    this.#tail = statement
    this.#inFlight += 1
    statement.cost = statement.text.cost
    this.#load += statement.cost
  }

  /** Writes what is to be sent, which else waits for the end of the loop's turn. */
  flush(): void {
    this.#flushing = false
    const outgoing = this.#outgoing
    const [first] = outgoing
    if (first === undefined) return
    this.#outgoing = []
    this.#batches += 1
    const { stream } = this.#connection
    if (stream.writable) stream.write(outgoing.length === 1 ? first : Buffer.concat(outgoing))
  }

  #current(what: string): Statement | undefined {
    this.heardAt = this.#watch.now
    if (this.#head === undefined) this.#events.confused(what)
    return this.#head
  }

  #parsed(): void {
    const named = this.#current('parseComplete')?.named
    if (named !== undefined) named.ready = true
  }

  #described(fields: readonly Field[]): void {
    const statement = this.#current('rowDescription')
    if (statement === undefined) return
    statement.shape = fields.length === 0 ? noRows : rowShape(fields)
    if (statement.named !== undefined) statement.named.shape = statement.shape
  }

  #row(values: readonly (string | null)[]): void {
    const statement = this.#current('dataRow')
    if (statement === undefined || statement.error !== undefined) return
    if (statement.shape === undefined) {
      this.#events.confused('a row without a description')
      return
    }
    try {
      statement.rows.push(readRow(statement.shape, values))
    } catch (error) {
      statement.error = error
    }
  }

  /** `SELECT 3`, `INSERT 0 3`, `BEGIN`. */
  #completed(tag: string): void {
    const statement = this.#current('commandComplete')
    if (statement === undefined) return
    const space = tag.indexOf(' ')
    statement.command = space === -1 ? tag : tag.slice(0, space)
    const count = space === -1 ? Number.NaN : Number(tag.slice(tag.lastIndexOf(' ') + 1))
    statement.rowCount = Number.isNaN(count) ? null : count
  }

  #failed(error: Error): void {
    this.heardAt = this.#watch.now
    const statement = this.#head
    if (statement !== undefined) statement.error ??= error
    this.#events.error(error, statement)
  }

  #ready(status: string): void {
    const statement = this.#current('readyForQuery')
    if (statement === undefined) return
    this.#status = status
    this.#head = statement.next
    statement.next = undefined
    this.#inFlight -= 1
    this.#load -= statement.cost
    if (this.#head === undefined) {
      this.#tail = undefined
      this.#load = 0
    } else {
      this.#head.headSince = this.#watch.now
    }
    const { named } = statement
    // The server does not have it: whoever needs it next prepares it under another name.
    if (named !== undefined && !named.ready) this.names.forget(named)
    this.#events.answered(statement)
  }
}
