import type pg from 'pg'
import type { Cluster } from './cluster.ts'
import { type Context, ownershipMark } from './context.ts'
import { closedDatabases, openToPublic, tenantGroup } from './secure-cluster.ts'
import { templateLock, templateName } from './template.ts'

/** A tenant database as the server has it. */
export type PhysicalDatabase = {
  name: string
  /** An interrupted DROP DATABASE left it unusable. */
  invalid: boolean
  allowsConnections: boolean
  owner: string
  /** Roles beside its owner and its own login role that hold a right on it; the empty name is PUBLIC. */
  strangers: string[]
  /** Whether its own login role may connect. */
  open: boolean
}

/** A login or owner role of a tenant database as the server has it. */
export type PhysicalRole = {
  name: string
  login: boolean
  /** Attributes that neither kind of role may have, such as `createdb`. */
  attributes: string[]
  connectionLimit: number
  /** Whether its password ends some day. */
  validUntil: boolean
  /** Settings that the role carries by itself, as `name=value`. */
  settings: string[]
  /** True when it has what the tenants' group is granted. */
  inGroup: boolean
  /** Roles that it is a member of, and the tenants' group if it may also act as that or admit others. */
  memberOf: string[]
}

/** Everything on one server that the reconciler compares with the master. */
export type ClusterSnapshot = {
  cluster: Cluster
  /** Whether the provisioner is a superuser, who can take away what nobody else can. */
  superuser: boolean
  databases: Map<string, PhysicalDatabase>
  roles: Map<string, PhysicalRole>
  /** Names of databases whose owner role carries this installation's mark. */
  ours: Set<string>
  /** Databases beside the tenants' own that let PUBLIC in though no tenant may enter. */
  openToPublic: string[]
  /** Templates that this installation made and did not finish, or needs no more. */
  leftTemplates: string[]
}

const tenantName = '^t_[a-z2-7]{26}$'
const roleName = '^t_[a-z2-7]{26}(_owner)?$'

const readDatabases = async (client: pg.Client): Promise<PhysicalDatabase[]> => {
  const { rows } = await client.query<PhysicalDatabase>(
    `select d.datname as name, d.datconnlimit = -2 as invalid, d.datallowconn as "allowsConnections",
            pg_get_userbyid(d.datdba) as owner,
            array(select distinct coalesce(r.rolname::text, '')
                    from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                    left join pg_roles r on r.oid = a.grantee
                   where a.grantee <> d.datdba and coalesce(r.rolname, '') <> d.datname) as strangers,
            exists (select from aclexplode(d.datacl) a join pg_roles r on r.oid = a.grantee
                     where r.rolname = d.datname and a.privilege_type = 'CONNECT') as open
       from pg_database d where d.datname ~ $1`,
    [tenantName],
  )
  return rows
}

const readRoles = async (client: pg.Client): Promise<(PhysicalRole & { mark: string | null })[]> => {
  const { rows } = await client.query<PhysicalRole & { mark: string | null }>(
    `select r.rolname as name, r.rolcanlogin as login, r.rolconnlimit as "connectionLimit",
            coalesce(r.rolvaliduntil < 'infinity', false) as "validUntil",
            array_remove(array[case when r.rolsuper then 'superuser' end, case when r.rolcreatedb then 'createdb' end,
              case when r.rolcreaterole then 'createrole' end, case when r.rolreplication then 'replication' end,
              case when r.rolbypassrls then 'bypassrls' end, case when not r.rolinherit then 'noinherit' end], null) as attributes,
            array(select c from pg_db_role_setting s, unnest(s.setconfig) c where s.setrole = r.oid order by c) as settings,
            exists (select from pg_auth_members m
                     where m.member = r.oid and m.roleid = g.oid and m.inherit_option) as "inGroup",
            array(select distinct pg_get_userbyid(m.roleid)::text from pg_auth_members m
                   where m.member = r.oid
                     and not (m.roleid = g.oid and not m.set_option and not m.admin_option)) as "memberOf",
            shobj_description(r.oid, 'pg_authid') as mark
       from pg_roles r left join pg_roles g on g.rolname = $2
      where r.rolname ~ $1`,
    [roleName, tenantGroup],
  )
  return rows
}

/** Templates that carry this installation's mark, but for those needed and the one that is being made now. */
const readLeftTemplates = async (
  client: pg.Client,
  mark: string,
  needed: readonly string[],
): Promise<string[]> => {
  const { rows } = await client.query<{ name: string }>(
    `select datname as name from pg_database
      where datname ~ '^freehold_(template|unfinished)_' and datname <> all ($2)
        and shobj_description(oid, 'pg_database') = $1
        and not (datname ~ '^freehold_unfinished_' and exists (
          select from pg_locks where locktype = 'advisory' and classid = 0 and objid = $3::bigint::oid and objsubid = 1
             and database = (select oid from pg_database where datname = current_database())))
      order by datname`,
    [mark, needed, templateLock],
  )
  return rows.map((row) => row.name)
}

const isSuperuser = async (client: pg.Client): Promise<boolean> => {
  const { rows } = await client.query('select from pg_roles where rolname = current_user and rolsuper')
  return rows.length > 0
}

/** Reads one cluster; changes nothing. */
export const readCluster = async (context: Context, cluster: Cluster): Promise<ClusterSnapshot> =>
  context.provisioner.use(cluster, async (client) => {
    const mark = ownershipMark(context.installationId)
    const databases = await readDatabases(client)
    const roles = await readRoles(client)
    return {
      cluster,
      superuser: await isSuperuser(client),
      databases: new Map(databases.map((database) => [database.name, database])),
      roles: new Map(roles.map((role) => [role.name, role])),
      ours: new Set(
        roles.filter((role) => role.mark === mark).map((role) => role.name.replace(/_owner$/, '')),
      ),
      openToPublic: await openToPublic(client, closedDatabases(cluster, context.master)),
      leftTemplates: await readLeftTemplates(client, mark, [templateName(context.migrations)]),
    }
  })
