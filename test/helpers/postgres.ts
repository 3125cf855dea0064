import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { type Furniture, provideServerCopy } from './server-copies.ts'

export type TestPostgres = Pick<EmbeddedPostgres, 'master' | 'provisioner' | 'superuser' | 'version'>

/**
 * A PostgreSQL of the test file's own with the roles of a real installation; stopped and removed after the file. Empty, or
 * `furnished`: with a migrated master, the tenants' template and four spares, as a node leaves it that was stopped. Costs
 * half a second, so start it once per file.
 */
export const startTestPostgres = async (t: Test, furniture: Furniture = 'empty'): Promise<TestPostgres> => {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'test-freehold-')))
  // Started by root, the server runs as a user who must be able to walk to its data.
  await chmod(dataDir, 0o711)
  t.teardown(() => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }))
  await provideServerCopy(join(dataDir, 'data'), furniture)
  const server = await startEmbeddedPostgres({ dataDir: join(dataDir, 'data'), durable: false })
  t.teardown(() => server.stop())
  return server
}

/** A connection for one test. Addresses can be changed by hand: `{ ...postgres.superuser, database: 'x' }`. */
export const connectTo = async (t: Test, address: PostgresAddress): Promise<pg.Client> => {
  const client = new pg.Client(clientOptions(address))
  // A test may end the connection from the server's side.
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end().catch(() => {}))
  return client
}

/** The SQLSTATE with which the server refuses this login or statement; undefined when it does not. */
export const refusalOf = async (
  address: PostgresAddress,
  statement = 'select 1',
): Promise<string | undefined> => {
  const client = new pg.Client(clientOptions(address))
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(statement)
    return undefined
  } catch (error) {
    return error instanceof pg.DatabaseError ? error.code : String(error)
  } finally {
    await client.end().catch(() => {})
  }
}
