import {
  CompiledQuery,
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
import type { TenantConnection } from './tenant-connection.ts'
import type { Slot } from './tenant-pool.ts'

/** Where the driver of one lease gets its connections. */
export type ConnectionSource = {
  acquire(signal: AbortSignal | undefined): Promise<Slot<TenantConnection>>
  release(slot: Slot<TenantConnection>): void
  /** Throws when the lease was released. */
  assertHeld(): void
}

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/** One connection for as long as Kysely holds it: a statement, a transaction, or a `connection()` block. */
class HeldConnection implements DatabaseConnection {
  readonly #source: ConnectionSource
  #slot: Slot<TenantConnection> | undefined

  constructor(source: ConnectionSource, slot: Slot<TenantConnection>) {
    this.#source = source
    this.#slot = slot
  }

  get connection(): TenantConnection {
    if (this.#slot === undefined) throw new Error('The connection was already given back.')
    return this.#slot.connection
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    this.#source.assertHeld()
    const { command, rowCount, rows } = await this.connection.query<R>(sql, parameters)
    return changing.has(command) ? { rows, numAffectedRows: BigInt(rowCount ?? 0) } : { rows }
  }

  // biome-ignore lint/correctness/useYield: there is nothing to yield; Kysely asks for a generator.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('Streaming is not supported on a tenant handle; read in pages.')
  }

  giveBack(): void {
    const slot = this.#slot
    this.#slot = undefined
    if (slot !== undefined) this.#source.release(slot)
  }
}

const held = (connection: DatabaseConnection): HeldConnection => {
  if (connection instanceof HeldConnection) return connection
  throw new TypeError('not a connection of this driver')
}

const beginStatement = ({ isolationLevel, accessMode }: TransactionSettings): string => {
  if (isolationLevel === undefined && accessMode === undefined) return 'begin'
  const isolation = isolationLevel === undefined ? '' : ` isolation level ${isolationLevel}`
  return `start transaction${isolation}${accessMode === undefined ? '' : ` ${accessMode}`}`
}

/** Kysely's way to one lease's connections. A connection is taken when a statement runs, and given back after it. */
class TenantDriver implements Driver {
  readonly #source: ConnectionSource

  constructor(source: ConnectionSource) {
    this.#source = source
  }

  async init(): Promise<void> {}

  async acquireConnection(options?: { signal?: AbortSignal }): Promise<DatabaseConnection> {
    return new HeldConnection(this.#source, await this.#source.acquire(options?.signal))
  }

  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(beginStatement(settings)))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    this.#source.assertHeld()
    const { command } = await held(connection).connection.query('commit', [])
    // After a failed statement that nobody minded, Postgres answers COMMIT with a rollback.
    if (command === 'ROLLBACK')
      throw new Error('The transaction was rolled back: a statement in it had failed.')
  }

  /** Never throws: a connection that can't roll back is closed, and then the server rolls back. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const tenantConnection = held(connection).connection
    await tenantConnection.query('rollback', []).catch(() => tenantConnection.spoil())
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
    held(connection).giveBack()
  }

  async destroy(): Promise<void> {}

  async #savepointCommand(connection: DatabaseConnection, command: string, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`${command} "${name.replaceAll('"', '""')}"`))
  }
}

/** Kysely over the connections of one lease. */
export class TenantDialect implements Dialect {
  readonly #source: ConnectionSource

  constructor(source: ConnectionSource) {
    this.#source = source
  }

  createDriver(): Driver {
    return new TenantDriver(this.#source)
  }

  createQueryCompiler(): QueryCompiler {
    return new PostgresQueryCompiler()
  }

  createAdapter(): DialectAdapter {
    return new PostgresAdapter()
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new PostgresIntrospector(db)
  }
}
