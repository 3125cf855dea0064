import pg from 'pg'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { clientOptions } from '../kernel/postgres-address.ts'

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

/** The driver's client for one connection to a tenant's database, not connected yet. */
export const newTenantClient = (address: PostgresAddress, statementTimeoutMs: number): pg.Client =>
  new pg.Client({
    ...clientOptions(address),
    application_name: 'freehold',
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionMs,
    lock_timeout: Math.min(lockTimeoutMs, statementTimeoutMs),
    options: startOptions.map((option) => `-c ${option}`).join(' '),
  })
