import type pg from 'pg'
import { ownerRoleName } from '../kernel/ids.ts'
import { inTransaction, quoteName } from './provisioner.ts'
import { tenantGroup } from './secure-cluster.ts'

/**
 * Gives both roles of a database the attributes, settings and memberships they were made with. What the provisioner may
 * change is changed; throws afterwards when something is left that takes a superuser.
 */
export const restoreRoles = async (
  client: pg.Client,
  name: string,
  connectionLimit: number,
): Promise<void> => {
  const owner = ownerRoleName(name)
  await inTransaction(client, async () => {
    for (const role of [name, owner]) await resetRole(client, role, name)
    await client.query(`alter role ${quoteName(owner)} nologin`)
    await client.query(
      `alter role ${quoteName(name)} login connection limit ${Math.trunc(connectionLimit)} valid until 'infinity'`,
    )
    // Before anything is revoked: the tenant goes on working meanwhile.
    await client.query(`grant ${tenantGroup} to ${quoteName(name)} with inherit true, set false, admin false`)
  })
  const errors: unknown[] = []
  for (const role of [name, owner]) errors.push(...(await leaveGroups(client, role)))
  for (const role of [name, owner]) await dropExcessAttributes(client, role)
  if (errors.length > 0) throw errors[0]
}

const resetRole = async (client: pg.Client, role: string, database: string): Promise<void> => {
  await client.query(`alter role ${quoteName(role)} nocreatedb nocreaterole inherit`)
  await client.query(`alter role ${quoteName(role)} reset all`)
  await client.query(`alter role ${quoteName(role)} in database ${quoteName(database)} reset all`)
}

/** Naming these at all takes a superuser, so only when there is something to take away. */
const dropExcessAttributes = async (client: pg.Client, role: string): Promise<void> => {
  const { rows } = await client.query(
    'select from pg_roles where rolname = $1 and (rolsuper or rolreplication or rolbypassrls)',
    [role],
  )
  if (rows.length > 0)
    await client.query(`alter role ${quoteName(role)} nosuperuser noreplication nobypassrls`)
}

/** Ends every membership but the one in the tenants' group as it must be. Returns what could not be revoked. */
const leaveGroups = async (client: pg.Client, role: string): Promise<unknown[]> => {
  const { rows } = await client.query<{ group: string; grantor: string }>(
    `select pg_get_userbyid(roleid) as "group", pg_get_userbyid(grantor) as grantor
       from pg_auth_members m join pg_roles g on g.oid = m.roleid
      where member = (select oid from pg_roles where rolname = $1)
        and not (g.rolname = $2 and not set_option and not admin_option)`,
    [role, tenantGroup],
  )
  const errors: unknown[] = []
  for (const { group, grantor } of rows) {
    await client
      .query(`revoke ${quoteName(group)} from ${quoteName(role)} granted by ${quoteName(grantor)}`)
      .catch((error: unknown) => errors.push(error))
  }
  return errors
}
