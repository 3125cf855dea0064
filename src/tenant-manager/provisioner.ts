import pg from 'pg'
import { clientOptions } from '../kernel/postgres-address.ts'
import type { Cluster } from './cluster.ts'

/**
 * Provisioner connections to one cluster at once, from this process. They are not part of the tenants' budget, so there
 * are few; four build 20 databases a second.
 */
const maxConnections = 4

/** Longest single statement: a database is cloned in a tenth of a second, a migration may take minutes. */
const statementTimeout = 300_000

type Gate = { free: number; waiting: (() => void)[] }

/**
 * Opens the tenant manager's own connections. Each lives for one piece of work: none lies idle, and none is left when a
 * database is to be dropped.
 */
export class Provisioner {
  readonly #gates = new Map<string, Gate>()

  /**
   * Lends a connection to `database` on the cluster (default: the provisioner's own database). Waits while all are in
   * use, so `work` must not borrow another one: four that each wait for a fifth would wait forever.
   */
  async use<T>(cluster: Cluster, work: (client: pg.Client) => Promise<T>, database?: string): Promise<T> {
    await this.#enter(cluster.id)
    try {
      return await connectedTo(cluster, database ?? cluster.provisioner.database, work)
    } finally {
      this.#leave(cluster.id)
    }
  }

  async #enter(clusterId: string): Promise<void> {
    const gate = this.#gate(clusterId)
    if (gate.free > 0) gate.free -= 1
    else await new Promise<void>((admit) => gate.waiting.push(admit))
  }

  #leave(clusterId: string): void {
    const gate = this.#gate(clusterId)
    const next = gate.waiting.shift()
    if (next === undefined) gate.free += 1
    else next()
  }

  #gate(clusterId: string): Gate {
    const gate = this.#gates.get(clusterId) ?? { free: maxConnections, waiting: [] }
    this.#gates.set(clusterId, gate)
    return gate
  }
}

/** A connection for one piece of work, outside the gate; `use` is what to call unless one is held already. */
export const connectedTo = async <T>(
  cluster: Pick<Cluster, 'provisioner'>,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => {
  const client = new pg.Client({
    ...clientOptions({ ...cluster.provisioner, database }),
    application_name: 'freehold provisioner',
    connectionTimeoutMillis: 10_000,
    statement_timeout: statementTimeout,
    // Right over the roles it makes: SET to act as an owner, INHERIT to end sessions and rename. Roles' own settings
    // never decide how we read a name.
    options: '-c createrole_self_grant=set,inherit -c search_path=public',
  })
  // A lost connection also fails the query under way; without a listener it would end the process.
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Runs `work` in one transaction. */
export const inTransaction = async <T>(client: pg.Client, work: () => Promise<T>): Promise<T> => {
  await client.query('begin')
  try {
    const result = await work()
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  }
}

export const quoteName = pg.escapeIdentifier
export const quoteText = pg.escapeLiteral

/** The SQLSTATE of a Postgres error, or undefined for any other. */
export const sqlState = (error: unknown): string | undefined =>
  error instanceof pg.DatabaseError ? error.code : undefined
