import type pg from 'pg'
import { scramVerifier } from '../kernel/crypto.ts'
import { ownerRoleName } from '../kernel/ids.ts'
import { ownershipMark } from './context.ts'
import { inTransaction, quoteName, quoteText } from './provisioner.ts'
import { templateOwner, tenantGroup } from './secure-cluster.ts'

/** `password` must be a `randomSecret`. */
export type RoleSettings = Readonly<{ name: string; password: string; connectionLimit: number }>

/**
 * Iterations of a tenant role's SCRAM verifier. They slow down guessing, and nobody guesses 256 random bits; with the usual
 * 4,096 every connect would cost us half a millisecond of computing. Decision 15.
 */
const iterations = 1

/** The login role: it may log in and use what the tenants' group is granted, and nothing else. */
export const createLoginRole = async (
  client: pg.Client,
  { name, password, connectionLimit }: RoleSettings,
): Promise<void> => {
  const verifier = quoteText(scramVerifier(password, iterations))
  await client.query(
    `create role ${quoteName(name)} login inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls
       connection limit ${Math.trunc(connectionLimit)} password ${verifier}`,
  )
  await client.query(`grant ${tenantGroup} to ${quoteName(name)} with inherit true, set false, admin false`)
}

/**
 * Makes the owner role and the login role of a database, both or neither. The owner's comment is the proof that the
 * database is of this installation: it is there before the database and goes after it.
 */
export const createRoles = async (
  client: pg.Client,
  settings: RoleSettings,
  installationId: string,
): Promise<void> => {
  const owner = quoteName(ownerRoleName(settings.name))
  await inTransaction(client, async () => {
    await client.query(
      `create role ${owner} nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls`,
    )
    await client.query(`comment on role ${owner} is ${quoteText(ownershipMark(installationId))}`)
    await createLoginRole(client, settings)
  })
}

/** Who may connect to the database: its owner, its own login role, and nobody else. Throws when that is not so afterwards. */
export const closeDatabase = async (client: pg.Client, name: string): Promise<void> => {
  const database = quoteName(name)
  await inTransaction(client, async () => {
    // As the owner: by anyone else the REVOKE would change nothing and only warn.
    await client.query(`set local role ${quoteName(ownerRoleName(name))}`)
    for (const stranger of await strangers(client, name)) {
      await client.query(
        `revoke all on database ${database} from ${stranger === '' ? 'public' : quoteName(stranger)}`,
      )
    }
    await client.query(`revoke temporary, create on database ${database} from ${quoteName(name)}`)
    await client.query(`grant connect on database ${database} to ${quoteName(name)}`)
    await assertClosed(client, name)
  })
}

/** Roles other than the owner and the login role that hold any right on the database; the empty name is PUBLIC. */
const strangers = async (client: pg.Client, name: string): Promise<string[]> => {
  const { rows } = await client.query<{ grantee: string }>(
    `select distinct coalesce(r.rolname, '') as grantee
       from pg_database d
       cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
       left join pg_roles r on r.oid = a.grantee
      where d.datname = $1 and a.grantee <> d.datdba and coalesce(r.rolname, '') <> $1`,
    [name],
  )
  return rows.map((row) => row.grantee)
}

const assertClosed = async (client: pg.Client, name: string): Promise<void> => {
  const { rows } = await client.query<{ open: boolean; usable: boolean }>(
    `select has_database_privilege('public', $1::text, 'CONNECT')
              or has_database_privilege('public', $1::text, 'TEMPORARY')
              or has_database_privilege($1::name, $1::text, 'CREATE')
              or has_database_privilege($1::name, $1::text, 'TEMPORARY') as open,
            has_database_privilege($1::name, $1::text, 'CONNECT') as usable`,
    [name],
  )
  if (rows[0]?.open !== false) throw new Error(`database ${name} is still open to others than its own role`)
  if (rows[0].usable !== true) throw new Error(`database ${name} is closed to its own role`)
}

/** Inside the new database: gives what the template's owner had to the database's own owner. Throws when anything is left. */
export const takeOverObjects = async (client: pg.Client, name: string): Promise<void> => {
  await client.query(`reassign owned by ${templateOwner} to ${quoteName(ownerRoleName(name))}`)
  const { rows } = await client.query<{ left: number }>(
    `select count(*)::int as left from pg_shdepend d join pg_roles r on r.oid = d.refobjid
      where d.refclassid = 'pg_authid'::regclass and r.rolname = $1
        and d.dbid = (select oid from pg_database where datname = current_database())`,
    [templateOwner],
  )
  if (rows[0]?.left !== 0) throw new Error(`objects in database ${name} still belong to the template's owner`)
}

/** Removes the database and both roles, in the one order that can be repeated from any point. */
export const dropDatabaseAndRoles = async (client: pg.Client, name: string): Promise<void> => {
  const { rows } = await client.query('select from pg_roles where rolname = $1', [name])
  // Without this a pool that reconnects could keep coming back between our steps.
  if (rows.length > 0) await client.query(`alter role ${quoteName(name)} nologin`)
  await client.query(`drop database if exists ${quoteName(name)} with (force)`)
  await client.query(`drop role if exists ${quoteName(name)}`)
  await client.query(`drop role if exists ${quoteName(ownerRoleName(name))}`)
}
