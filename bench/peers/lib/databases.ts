import pg from 'pg'
import { clientOptions, type PostgresAddress } from '../../../src/kernel/postgres-address.ts'
import type { Setup } from '../../lib/serve.ts'

/** Connections of each pool, everywhere: the default of `pg`. */
export const poolSize = 10

const databases = { express: 'peer_express', betterAuth: 'peer_better_auth' } as const
export type PeerDatabase = keyof typeof databases

/** Where a peer keeps what it knows: on the same PostgreSQL, as a role that owns this database. */
export const peerAddress = (of: PeerDatabase, { grounds }: Pick<Setup, 'grounds'>): PostgresAddress => ({
  ...grounds.provisioner,
  database: databases[of],
})

export const openPool = (address: PostgresAddress) =>
  new pg.Pool({ ...clientOptions(address), max: poolSize })

/** Connects, works, and hangs up. */
export const withClient = async <T>(
  address: PostgresAddress,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => {
  const client = new pg.Client(clientOptions(address))
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export const createPeerDatabase = (of: PeerDatabase, setup: Pick<Setup, 'grounds'>) =>
  withClient(setup.grounds.provisioner, (client) =>
    client.query(`create database ${databases[of]} template template0`),
  )
