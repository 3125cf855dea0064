import { createHash, randomUUID } from 'node:crypto'
import { type Compilable, type CompiledQuery, Kysely, PostgresDialect, type Transaction } from 'kysely'
import pg from 'pg'
import Pool from 'pg-pool'
import type { Logger } from '../kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../kernel/postgres-address.ts'
import type { MasterTables } from './tables.ts'

/** Queries over the master database, or a transaction in it. */
export type MasterDb = Kysely<MasterTables>
export type MasterTransaction = Transaction<MasterTables>

export type Master = {
  readonly db: MasterDb
  /** For graphile-worker and session-level advisory locks; features use `db`. */
  readonly pool: Pool<pg.Client>
  readonly address: PostgresAddress
  close(): Promise<void>
}

/** Connections to the master per node: enough for sign-ins, the worker, and the look-ups of what tenants' requests need. */
const masterConnections = 12
/** Once opened, so many stay open at rest: who must ask the master something waits for it, and a connect takes longer than the answer. */
const masterConnectionsAtRest = 2

/** Opens the pool to the master. Connects on first use; closing waits for every connection. */
export const openMaster = (address: PostgresAddress, log: Logger): Master => {
  let closing: Promise<void> | undefined
  const pool = new Pool<pg.Client>({
    ...clientOptions(address),
    Client: pg.Client,
    application_name: 'freehold master',
    max: masterConnections,
    min: masterConnectionsAtRest,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: 5_000,
    // Those at rest may be for long: nothing between us and the server is to forget them.
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    statement_timeout: 30_000,
    idle_in_transaction_session_timeout: 30_000,
  })
  pool.on('error', (error) => {
    // At an end the server may be quicker than the pool.
    if (closing === undefined) log.warn({ err: error }, 'an idle master connection was lost')
  })
  // A client can also fail while it is checked out and no query of its own is under way.
  pool.on('connect', (client) => client.on('error', () => {}))
  const db = new Kysely<MasterTables>({ dialect: new PostgresDialect({ pool }) })
  return {
    db,
    pool,
    address,
    close: () => {
      // Kysely ends the pool only when it has run a query.
      closing ??= db.destroy().then(() => (pool.ended ? undefined : pool.end()))
      return closing
    },
  }
}

/**
 * Runs a statement by itself, prepared on its connection under a name: from the second time on the server need not read
 * and plan it again. For the few big ones where that counts. They must name every column they return: a prepared `*` fails
 * once a migration has added one.
 */
export const runPrepared = <Row>(master: Master, query: CompiledQuery<Row>): Promise<Row[]> =>
  preparedByName<Row>(master, query.sql)(query.parameters)

/**
 * A statement as `runPrepared` runs it, put together only once: for what is asked so often, or in such a hurry, that this would
 * count. `build` is called here, with stand-ins for its arguments; each must become a parameter as it is. Throws when one does
 * not.
 */
export const compiledOnce = <Args extends readonly string[], Row>(
  master: Master,
  build: (...args: Args) => Compilable<Row>,
): ((...args: Args) => Promise<Row[]>) => {
  const standIns: string[] = Array.from({ length: build.length }, () => randomUUID())
  const { sql, parameters } = build(...(standIns as readonly string[] as Args)).compile()
  const places = parameters.map((value) => standIns.indexOf(value as string))
  const inside = parameters.some(
    (value, n) => places[n] === -1 && standIns.some((s) => String(value).includes(s)),
  )
  if (inside || !standIns.every((_, n) => places.includes(n)))
    throw new Error(`an argument is not a parameter of this statement as it is: ${sql}`)
  const run = preparedByName<Row>(master, sql)
  return async (...args) => {
    if (args.length !== standIns.length) throw new TypeError(`${standIns.length} arguments are needed`)
    return run(parameters.map((value, n) => (places[n] === -1 ? value : args[places[n] ?? -1])))
  }
}

const preparedByName = <Row>(
  { pool }: Master,
  text: string,
): ((values: readonly unknown[]) => Promise<Row[]>) => {
  const name = createHash('sha256').update(text).digest('base64url')
  return async (values) => {
    const { rows } = await pool.query({ name, text, values: [...values] })
    return rows
  }
}
