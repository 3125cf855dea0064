import {
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import { type HeldConnection, readAll } from './held-connection.ts'
import type { StatementResult } from './wire/statement.ts'

/** Where the statements of one lease run. */
export type ConnectionSource = {
  /** Runs one statement by itself, on whatever connection of the tenant is right for it. */
  run(query: CompiledQuery, signal: AbortSignal | undefined): Promise<StatementResult>
  /** A connection for this caller alone, until it is given back. */
  hold(signal: AbortSignal | undefined): Promise<HeldConnection>
}

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/** What the server answered, as Kysely takes it. */
export const toQueryResult = <R>({ command, rowCount, rows }: StatementResult): QueryResult<R> =>
  changing.has(command)
    ? { rows: rows as R[], numAffectedRows: BigInt(rowCount ?? 0) }
    : { rows: rows as R[] }

/**
 * What Kysely holds for a transaction or a stream. Only now is it known that a connection is needed for one holder: the
 * first of them takes it. A statement without a transaction never comes here.
 */
class Session implements DatabaseConnection {
  readonly #source: ConnectionSource
  readonly #signal: AbortSignal | undefined
  #held: HeldConnection | undefined

  constructor(source: ConnectionSource, signal: AbortSignal | undefined) {
    this.#source = source
    this.#signal = signal
  }

  async begin(statement: string): Promise<void> {
    this.#held = await this.#source.hold(this.#signal)
    await this.#held.run(statement)
  }

  get held(): HeldConnection {
    if (this.#held === undefined) {
      throw new Error(
        'A tenant handle has no connection() of its own: use transaction() for statements that belong together.',
      )
    }
    return this.#held
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    return toQueryResult(await this.held.run(sql, parameters))
  }

  /** Rows in chunks: of a select through a cursor on the server, of anything else after it has ended. */
  async *streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    const outside = this.#held === undefined
    if (outside) await this.begin('begin')
    let done = false
    try {
      for await (const rows of readAll(this.held, query, chunkSize)) yield { rows: rows as R[] }
      if (outside) await this.held.commit()
      done = true
    } finally {
      // Left early or failed: nothing of it is wanted.
      if (outside && !done) await this.held.rollback()
    }
  }

  giveBack(): void {
    this.#held?.giveBack()
    this.#held = undefined
  }
}

const sessionOf = (connection: DatabaseConnection): Session => {
  if (connection instanceof Session) return connection
  throw new TypeError('not a connection of this driver')
}

const beginStatement = ({ isolationLevel, accessMode }: TransactionSettings): string => {
  if (isolationLevel === undefined && accessMode === undefined) return 'begin'
  const isolation = isolationLevel === undefined ? '' : ` isolation level ${isolationLevel}`
  return `start transaction${isolation}${accessMode === undefined ? '' : ` ${accessMode}`}`
}

/** Kysely's way to one lease's connections, for everything but plain statements. */
export class TenantDriver implements Driver {
  readonly #source: ConnectionSource

  constructor(source: ConnectionSource) {
    this.#source = source
  }

  async init(): Promise<void> {}

  async acquireConnection(options?: { signal?: AbortSignal | undefined }): Promise<DatabaseConnection> {
    return new Session(this.#source, options?.signal)
  }

  beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    return sessionOf(connection).begin(beginStatement(settings))
  }

  commitTransaction(connection: DatabaseConnection): Promise<void> {
    return sessionOf(connection).held.commit()
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return sessionOf(connection).held.rollback()
  }

  savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return this.#savepointCommand(connection, 'savepoint', name)
  }

  rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return this.#savepointCommand(connection, 'rollback to savepoint', name)
  }

  releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return this.#savepointCommand(connection, 'release savepoint', name)
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    sessionOf(connection).giveBack()
  }

  async destroy(): Promise<void> {}

  async #savepointCommand(connection: DatabaseConnection, command: string, name: string): Promise<void> {
    await sessionOf(connection).held.run(`${command} "${name.replaceAll('"', '""')}"`)
  }
}

/** The parts of Kysely's Postgres dialect that know no connection; one of each serves every lease. */
export const tenantDialect: Dialect = {
  createDriver(): Driver {
    throw new Error('each lease has its own driver')
  },
  createQueryCompiler: (): QueryCompiler => new PostgresQueryCompiler(),
  createAdapter: (): DialectAdapter => new PostgresAdapter(),
  createIntrospector: (db: Kysely<unknown>): DatabaseIntrospector => new PostgresIntrospector(db),
}
