import { ownerRoleName } from '../kernel/ids.ts'
import type { ClusterSnapshot, PhysicalRole } from './cluster-snapshot.ts'
import type { Finding } from './findings.ts'
import type { KnownDatabase } from './master-snapshot.ts'
import { closeSql } from './secure-cluster.ts'

/** What only a superuser can take away from a role. */
const superuserAttributes = new Set(['superuser', 'replication', 'bypassrls'])

type Found = Omit<Finding, 'target' | 'subject'> & { subject?: string }

/** Everything on one cluster that does not agree with the master. `connectionLimit` is what login roles should have. */
export const findOnCluster = (
  snapshot: ClusterSnapshot,
  known: readonly KnownDatabase[],
  connectionLimit: number,
): Finding[] => [
  ...findInCluster(snapshot),
  ...findOrphans(snapshot, known),
  ...known.filter(isBuilt).flatMap((database) =>
    findInDatabase(snapshot, database, connectionLimit).map((found) => ({
      subject: database.name,
      ...found,
      target: { clusterId: snapshot.cluster.id, databaseId: database.id, name: database.name },
    })),
  ),
]

/** What is being built or erased is looked after by its own findings. */
const isBuilt = ({ status, inWork }: KnownDatabase): boolean =>
  !inWork && status !== 'building' && status !== 'erasing'

const findInCluster = ({ cluster, openToPublic, leftTemplates }: ClusterSnapshot): Finding[] => [
  ...openToPublic.map(
    (name): Finding => ({
      kind: 'cluster_open_to_public',
      severity: 'problem',
      subject: `${cluster.name}/${name}`,
      message: `every tenant's role may connect to database ${name}; the reconciler revokes that where it may, otherwise run as a superuser: ${closeSql(cluster, name).join(' ')}`,
      repairable: true,
      target: { clusterId: cluster.id, name },
    }),
  ),
  ...leftTemplates.map(
    (name): Finding => ({
      kind: 'left_template',
      severity: 'notice',
      subject: name,
      message: `template ${name} is not needed any more; the reconciler drops it`,
      repairable: true,
      target: { clusterId: cluster.id, name },
    }),
  ),
]

/** Only what carries our mark: another installation may use the same server. */
const findOrphans = ({ cluster, ours }: ClusterSnapshot, known: readonly KnownDatabase[]): Finding[] => {
  const names = new Set(known.map((database) => database.name))
  return [...ours]
    .filter((name) => !names.has(name))
    .map((name) => ({
      kind: 'orphan_database',
      severity: 'problem',
      subject: name,
      message: `${name} on cluster ${cluster.name} is ours but the master does not know it; the reconciler erases it if it was never used, otherwise the master is older than it: restore the master`,
      repairable: true,
      target: { clusterId: cluster.id, name },
    }))
}

const findInDatabase = (
  snapshot: ClusterSnapshot,
  known: KnownDatabase,
  connectionLimit: number,
): Found[] => {
  const { name, status } = known
  const physical = snapshot.databases.get(name)
  const owner = ownerRoleName(name)
  if (physical === undefined || physical.invalid) {
    const lost = status === 'held'
    return [
      {
        kind: physical === undefined ? 'missing_database' : 'invalid_database',
        severity: 'problem',
        message: `${status} database ${name} ${physical === undefined ? 'is not on its cluster' : 'was half dropped'}; ${lost ? 'restore it from a backup' : 'the reconciler removes what is left of it'}`,
        repairable: !lost,
      },
    ]
  }
  if (physical.owner !== owner || !snapshot.ours.has(name)) {
    return [
      {
        kind: 'foreign_owner',
        severity: 'problem',
        message: `database ${name} is not owned by ${owner} with this installation's mark; nothing touches it until an operator finds out why`,
        repairable: false,
      },
    ]
  }
  return [
    ...findDoors(
      known,
      physical.strangers,
      physical.open && physical.allowsConnections,
      snapshot.roles.has(name),
    ),
    ...findLoginRole(snapshot, known, connectionLimit),
    ...findOwnerRole(snapshot, owner),
  ]
}

const findDoors = (
  { name }: KnownDatabase,
  strangers: readonly string[],
  open: boolean,
  hasLogin: boolean,
): Found[] => [
  ...(strangers.length === 0
    ? []
    : ([
        {
          kind: 'open_to_others',
          severity: 'problem',
          message: `database ${name} gives rights to ${strangers.map((role) => role || 'PUBLIC').join(', ')}; the reconciler revokes them`,
          repairable: true,
        },
      ] satisfies Found[])),
  ...(open || !hasLogin
    ? []
    : ([
        {
          kind: 'closed_to_tenant',
          severity: 'problem',
          message: `the login role of database ${name} may not connect to it; the reconciler lets it`,
          repairable: true,
        },
      ] satisfies Found[])),
]

const findLoginRole = (
  snapshot: ClusterSnapshot,
  { name }: KnownDatabase,
  connectionLimit: number,
): Found[] => {
  const role = snapshot.roles.get(name)
  if (role === undefined) {
    return [
      {
        kind: 'missing_role',
        severity: 'problem',
        message: `the login role of database ${name} is gone; the reconciler makes it again with the same secret`,
        repairable: true,
      },
    ]
  }
  const changes = [
    ...(role.login ? [] : ['it may not log in']),
    ...(role.inGroup ? [] : ["it is not in the tenants' group"]),
    ...(role.connectionLimit === connectionLimit ? [] : [`its connection limit is ${role.connectionLimit}`]),
    ...(role.validUntil ? ['its password expires'] : []),
    ...(role.settings.length === 0 ? [] : [`it carries settings of its own: ${role.settings.join(', ')}`]),
  ]
  return [...findExcess(snapshot, role), ...findChanges(role, changes)]
}

const findOwnerRole = (snapshot: ClusterSnapshot, owner: string): Found[] => {
  const role = snapshot.roles.get(owner)
  if (role === undefined) return []
  const changes = role.login ? ['it may log in'] : []
  return [...findExcess(snapshot, role), ...findChanges(role, changes)]
}

const findChanges = (role: PhysicalRole, changes: readonly string[]): Found[] =>
  changes.length === 0
    ? []
    : [
        {
          kind: 'role_changed',
          severity: 'problem',
          subject: role.name,
          message: `role ${role.name} is not as it was made: ${changes.join('; ')}; the reconciler puts it right`,
          repairable: true,
        },
      ]

const findExcess = (snapshot: ClusterSnapshot, role: PhysicalRole): Found[] => {
  const excess = [...role.attributes, ...role.memberOf.map((group) => `member of ${group}`)]
  if (excess.length === 0) return []
  const repairable = snapshot.superuser || !role.attributes.some((name) => superuserAttributes.has(name))
  const how = repairable
    ? 'the reconciler takes it away'
    : `run as a superuser: alter role ${role.name} nosuperuser noreplication nobypassrls;`
  return [
    {
      kind: 'excess_rights',
      severity: 'problem',
      subject: role.name,
      message: `role ${role.name} has more rights than it should (${excess.join(', ')}); ${how}`,
      repairable,
    },
  ]
}
