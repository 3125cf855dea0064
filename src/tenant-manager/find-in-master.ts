import type { Finding } from './findings.ts'
import type { KnownDatabase, KnownTenant, MasterSnapshot, RunningOperation } from './master-snapshot.ts'

/** Everything in the master that contradicts itself, was left by a process that died, or is due. */
export const findInMaster = (master: MasterSnapshot, schemaVersion: string): Finding[] => {
  const databases = new Map(master.databases.map((database) => [database.id, database]))
  const pending = new Set(master.tenants.filter(({ status }) => status === 'pending').map(({ id }) => id))
  return [
    ...master.databases.flatMap((database) => findInRow(database, schemaVersion)),
    ...master.tenants.flatMap(findInTenant),
    ...master.untold.map(notTold),
    ...master.changedLogs.map(changedLog),
    ...master.operations
      .filter((operation) => isStalled(operation, databases, pending))
      .map((operation) => stalled(operation, databases)),
  ]
}

const findInRow = (database: KnownDatabase, schemaVersion: string): Finding[] => {
  const { id, clusterId, name, status, tenant, inWork } = database
  const find = (
    kind: Finding['kind'],
    severity: Finding['severity'],
    message: string,
    repairable = true,
  ): Finding[] => [
    { kind, severity, subject: name, message, repairable, target: { clusterId, databaseId: id, name } },
  ]
  if (tenant !== undefined && status !== 'held') {
    const message =
      status === 'spare'
        ? `tenant ${tenant} holds database ${name}, which counts as a spare; the reconciler marks it held`
        : `tenant ${tenant} holds database ${name}, which is ${status}; an operator must decide`
    return find('deed_to_wrong_database', 'problem', message, status === 'spare')
  }
  if (inWork) return []
  if (status === 'building') {
    return find(
      'half_built_database',
      'problem',
      `nobody builds database ${name} any more; the reconciler erases it`,
    )
  }
  if (status === 'erasing') {
    return find(
      'unfinished_erase',
      'problem',
      `nobody erases database ${name} any more; the reconciler goes on`,
    )
  }
  if (status === 'held' && tenant === undefined) {
    const message = `database ${name} is held by no tenant; it may hold data, so an operator must decide`
    return find('held_without_tenant', 'problem', message, false)
  }
  if (status !== 'retired' && database.schemaVersion < schemaVersion) {
    const message = `database ${name} is at ${database.schemaVersion}, older than ${schemaVersion}; the worker migrates it`
    return find('old_schema', 'notice', message)
  }
  return []
}

const findInTenant = ({ id, slug, status, queued }: KnownTenant): Finding[] => {
  if (status === 'pending') {
    if (queued) return []
    return [
      {
        kind: 'tenant_pending',
        severity: 'problem',
        subject: slug,
        message: `tenant ${slug} waits for a database and no job will give it one; the reconciler queues it again`,
        repairable: true,
        target: { tenantId: id },
      },
    ]
  }
  return [
    {
      kind: 'tenant_without_database',
      severity: 'problem',
      subject: slug,
      message: `tenant ${slug} is ${status} but holds no database; an operator must decide`,
      repairable: false,
      target: { tenantId: id },
    },
  ]
}

const changedLog = ({ id, slug }: MasterSnapshot['changedLogs'][number]): Finding => ({
  kind: 'audit_log_changed',
  severity: 'problem',
  subject: slug,
  message: `the audit log of tenant ${slug} is not the one whose head was signed, so it is not sealed any further; freehold audit verify ${slug} says where, and an operator must decide`,
  repairable: false,
  target: { tenantId: id },
})

const notTold = ({ id, slug }: MasterSnapshot['untold'][number]): Finding => ({
  kind: 'tenant_not_told',
  severity: 'problem',
  subject: slug,
  message: `what waits for the database of tenant ${slug} in the outbox has no job that tells it; the reconciler queues it again`,
  repairable: true,
  target: { tenantId: id },
})

/** What died with unfinished work that has a finding of its own is repaired there. */
const isStalled = (
  operation: RunningOperation,
  databases: ReadonlyMap<string, KnownDatabase>,
  pending: ReadonlySet<string>,
): boolean => {
  if (operation.live) return false
  const status = databases.get(operation.databaseId ?? '')?.status
  if (operation.kind === 'provision') return !pending.has(operation.tenantId ?? '')
  if (operation.kind === 'build') return status !== 'building'
  if (operation.kind === 'erase') return status !== 'erasing'
  return true
}

const stalled = (operation: RunningOperation, databases: ReadonlyMap<string, KnownDatabase>): Finding => ({
  kind: 'stalled_operation',
  severity: 'problem',
  subject: operation.id,
  message: `operation ${operation.kind} of ${databases.get(operation.databaseId ?? '')?.name ?? operation.tenantId ?? operation.databaseId} stopped at step ${operation.step} with its process; the reconciler records that`,
  repairable: true,
  target: { operationId: operation.id },
})
