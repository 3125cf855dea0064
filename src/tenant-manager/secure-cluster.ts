import { sql } from 'kysely'
import type pg from 'pg'
import { OperatorError } from '../kernel/errors.ts'
import type { Master } from '../master/master.ts'
import type { Cluster } from './cluster.ts'
import { quoteName, sqlState } from './provisioner.ts'

/** What every tenant's login role may do inside its own database is granted to this role. */
export const tenantGroup = 'freehold_tenant'
/** Owns the objects in the templates, and nothing else; cannot log in. */
export const templateOwner = 'freehold_template'

const duplicate = new Set(['42710', '23505'])

/** Makes the role unless it exists; another node may be making it at the same time. */
const ensureGroupRole = async (client: pg.Client, role: string): Promise<void> => {
  const { rows } = await client.query('select from pg_roles where rolname = $1', [role])
  if (rows.length > 0) return
  try {
    await client.query(`create role ${quoteName(role)} nologin`)
  } catch (error) {
    if (!duplicate.has(sqlState(error) ?? '')) throw error
  }
}

/** What the provisioner lacks over the two group roles, as SQL for a superuser; made by someone else, they may not be its own. */
const missingRights = async (client: pg.Client): Promise<string[]> => {
  const { rows } = await client.query<{ me: string; grants: boolean; acts: boolean }>(
    `select current_user as me,
            pg_has_role(current_user, $1, 'member with admin option') as grants,
            pg_has_role(current_user, $2, 'set') and pg_has_role(current_user, $2, 'usage') as acts`,
    [tenantGroup, templateOwner],
  )
  return rows.flatMap(({ me, grants, acts }) => [
    ...(grants ? [] : [`grant ${tenantGroup} to ${quoteName(me)} with admin true;`]),
    ...(acts ? [] : [`grant ${templateOwner} to ${quoteName(me)} with inherit true, set true;`]),
  ])
}

/** Those of `databases` that exist here, take connections, and let PUBLIC connect or make temporary tables. */
export const openToPublic = async (client: pg.Client, databases: readonly string[]): Promise<string[]> => {
  const { rows } = await client.query<{ name: string }>(
    `select datname as name from pg_database
      where datname = any($1) and datallowconn
        and (has_database_privilege('public', oid, 'CONNECT') or has_database_privilege('public', oid, 'TEMPORARY'))
      order by datname`,
    [databases],
  )
  return rows.map((row) => row.name)
}

/** True when the master lives on this cluster, so that its database must be shut to tenants there. */
export const hostsMaster = (cluster: Cluster, master: Master): boolean =>
  cluster.provisioner.host === master.address.host && cluster.provisioner.port === master.address.port

/** The databases on the cluster that no tenant may enter, beside the other tenants' own. */
export const closedDatabases = (cluster: Cluster, master: Master): string[] => [
  ...new Set([
    'postgres',
    'template1',
    cluster.provisioner.database,
    ...(hostsMaster(cluster, master) ? [master.address.database] : []),
  ]),
]

/** A REVOKE by someone who is not the owner changes nothing and only warns, so the caller looks again afterwards. */
const revokeFromPublic = async (client: pg.Client, database: string): Promise<void> => {
  const name = quoteName(database)
  try {
    // First its own way in: the provisioner may have come through PUBLIC.
    await client.query(`grant connect on database ${name} to current_user`)
    await client.query(`revoke connect, temporary on database ${name} from public`)
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
  }
}

const revokeOnMaster = async (master: Master): Promise<void> => {
  const name = sql.id(master.address.database)
  await sql`revoke connect, temporary on database ${name} from public`.execute(master.db)
}

/**
 * Makes a cluster fit for tenants: the group roles exist, and PUBLIC may neither connect to nor make temporary tables in
 * `postgres`, `template1` and the master's database. Changes nothing when all is well. Throws an OperatorError with the
 * SQL for a superuser where the provisioner's rights do not reach.
 */
export const secureCluster = async (client: pg.Client, cluster: Cluster, master: Master): Promise<void> => {
  await ensureGroupRole(client, tenantGroup)
  await ensureGroupRole(client, templateOwner)
  const closed = closedDatabases(cluster, master)
  for (const database of await openToPublic(client, closed)) {
    if (hostsMaster(cluster, master) && database === master.address.database) await revokeOnMaster(master)
    else await revokeFromPublic(client, database)
  }
  const stillOpen = await openToPublic(client, closed)
  const statements = [
    ...(await missingRights(client)),
    ...stillOpen.flatMap((name) => closeSql(cluster, name)),
  ]
  if (statements.length === 0) return
  throw new OperatorError([
    `cluster ${cluster.name} is not safe for tenants yet; run as a superuser on ${cluster.provisioner.host}:${cluster.provisioner.port}:`,
    ...statements.map((statement) => `  ${statement}`),
  ])
}

/** What a superuser runs to shut a database to PUBLIC and leave the provisioner its own way in. */
export const closeSql = (cluster: Cluster, database: string): string[] => [
  ...(database === cluster.provisioner.database
    ? [`grant connect on database ${quoteName(database)} to ${quoteName(cluster.provisioner.user)};`]
    : []),
  `revoke connect, temporary on database ${quoteName(database)} from public;`,
]
