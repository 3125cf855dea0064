import pg from 'pg'
import { OperatorError } from '../kernel/errors.ts'
import { clientOptions, type PostgresAddress } from '../kernel/postgres-address.ts'
import { connectedTo, sqlState } from './provisioner.ts'

export type ServerProbe = {
  /** As Postgres writes it, such as `18.4`. */
  version: string
  /** Such as 180004. */
  versionNumber: number
  maxConnections: number
  /** How many of them ordinary roles cannot have. */
  reservedConnections: number
  superuser: boolean
}

/** Below 16 a role with CREATEROLE rules over every role of the server, also over those that are not its own. */
const leastVersion = 160_000

const describe = (address: PostgresAddress): string => `${address.user} on ${address.host}:${address.port}`

const readProbe = async (client: pg.Client) => {
  const { rows } = await client.query<
    ServerProbe & { createdb: boolean; createrole: boolean; encoding: string }
  >(
    `select current_setting('server_version') as version,
            current_setting('server_version_num')::int as "versionNumber",
            current_setting('max_connections')::int as "maxConnections",
            current_setting('superuser_reserved_connections')::int
              + coalesce(current_setting('reserved_connections', true), '0')::int as "reservedConnections",
            rolsuper as superuser, rolcreatedb as createdb, rolcreaterole as createrole
       from pg_roles where rolname = current_user`,
  )
  const row = rows[0]
  if (row === undefined) throw new Error('the server did not answer the probe')
  return row
}

/**
 * Looks at a server before anything is built there. Throws an OperatorError with a line for each thing that is wrong
 * and what to do about it; no line holds a password.
 */
export const probeServer = async (provisioner: PostgresAddress): Promise<ServerProbe> => {
  const who = describe(provisioner)
  const row = await connectedTo({ provisioner }, provisioner.database, readProbe).catch((cause: unknown) => {
    throw new OperatorError(explainConnect(provisioner, cause), cause)
  })
  const { createdb, createrole, ...probe } = row
  const lines: string[] = []
  if (probe.versionNumber < leastVersion) {
    lines.push(`${who}: PostgreSQL ${probe.version} is too old; use 16 or newer (18 is recommended)`)
  }
  const rights = [...(createdb ? [] : ['createdb']), ...(createrole ? [] : ['createrole'])]
  if (!probe.superuser && rights.length > 0) {
    const sql = `alter role ${pg.escapeIdentifier(provisioner.user)} ${rights.join(' ')}`
    lines.push(`${who} may not make databases and roles; run as a superuser: ${sql};`)
  }
  if (lines.length > 0) throw new OperatorError(lines)
  return probe
}

const explainConnect = (address: PostgresAddress, cause: unknown): string => {
  const who = describe(address)
  const { database } = clientOptions(address)
  switch (sqlState(cause)) {
    case '28P01':
    case '28000':
      return `${who} was refused; check user, password and pg_hba.conf for database ${database}`
    case '3D000':
      return `${who}: there is no database ${database}; name one that exists, such as postgres`
    case '42501':
      return `${who} may not connect to ${database}; run as a superuser: grant connect on database ${pg.escapeIdentifier(database)} to ${pg.escapeIdentifier(address.user)};`
    case '53300':
      return `${who}: the server has no connection left; raise max_connections or stop other clients`
    default:
      return `${who} cannot be reached (${cause instanceof Error ? cause.message : String(cause)}); check host, port and TLS`
  }
}
