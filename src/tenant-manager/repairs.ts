import { sql } from 'kysely'
import type pg from 'pg'
import { ownerRoleName } from '../kernel/ids.ts'
import { sealedFor } from '../master/secrets.ts'
import { enqueue } from '../queue/enqueue.ts'
import { getCluster } from './cluster.ts'
import { type Context, databaseLock, ownershipMark, roleConnectionLimit } from './context.ts'
import { enqueueProvision, enqueueRefill } from './create-tenant.ts'
import { closeDatabase, createLoginRole } from './database-roles.ts'
import { wakeOutbox } from './deliver-outbox.ts'
import { type Erasable, eraseDatabase, giveUpDatabase } from './erase-database.ts'
import { eraseOrphan } from './erase-orphan.ts'
import type { Finding, FindingKind } from './findings.ts'
import { inTransaction } from './provisioner.ts'
import { restoreRoles } from './restore-roles.ts'
import { secureCluster } from './secure-cluster.ts'
import { dropTemplate, templateLock } from './template.ts'

type Target = Finding['target']
type Repair = (context: Context, target: Target) => Promise<void>

const named = (target: Target): string => {
  if (target.name === undefined) throw new Error('the finding names no database')
  return target.name
}

const onCluster = async (
  context: Context,
  target: Target,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> => {
  const cluster = await getCluster(context.master.db, context.box, target.clusterId ?? '')
  await context.provisioner.use(cluster, work)
}

/** The same on a database that is proved to be of this installation; anything else is left alone. */
const onOwnDatabase = (
  context: Context,
  target: Target,
  work: (client: pg.Client, name: string) => Promise<void>,
): Promise<void> =>
  onCluster(context, target, async (client) => {
    const name = named(target)
    const { rows } = await client.query(
      `select from pg_database d join pg_roles o on o.oid = d.datdba
        where d.datname = $1 and o.rolname = $2 and shobj_description(o.oid, 'pg_authid') = $3`,
      [name, ownerRoleName(name), ownershipMark(context.installationId)],
    )
    if (rows.length > 0) await work(client, name)
  })

/** Under the lock, so that no process is at work on the database between the look and the deed. */
const giveUpAndErase =
  (...from: Erasable[]): Repair =>
  async (context, { databaseId = '' }) => {
    const lock = await context.locks.tryHold(databaseLock(databaseId))
    if (lock === undefined) return
    try {
      for (const status of from) await giveUpDatabase(context, databaseId, status)
    } finally {
      await lock.release()
    }
    await eraseDatabase(context, databaseId)
    await closeOperations(context, databaseId)
  }

const closeOperations = async (context: Context, databaseId: string): Promise<void> => {
  await context.master.db
    .updateTable('operations')
    .set({
      status: 'failed',
      error: diedWithProcess,
      updated_at: sql<Date>`now()`,
      finished_at: sql<Date>`now()`,
    })
    .where('database_id', '=', databaseId)
    .where('status', '=', 'running')
    .execute()
}

const diedWithProcess = 'the process that did this ended'

const makeLoginRole: Repair = async (context, target) => {
  const row = await context.master.db
    .selectFrom('databases')
    .selectAll()
    .where('id', '=', target.databaseId ?? '')
    .executeTakeFirstOrThrow()
  const password = context.box.open(row.secret, sealedFor.databaseSecret(row)).toString()
  await onOwnDatabase(context, target, async (client, name) => {
    const settings = { name, password, connectionLimit: roleConnectionLimit(context) }
    await inTransaction(client, () => createLoginRole(client, settings))
    await closeDatabase(client, name)
  })
}

const dropLeftTemplate: Repair = (context, target) =>
  onCluster(context, target, async (client) => {
    const { rows } = await client.query('select pg_try_advisory_lock($1) as held', [templateLock])
    // It goes with the connection.
    if (rows[0]?.held === true) await dropTemplate(client, named(target))
  })

const resetRoles: Repair = (context, target) =>
  onOwnDatabase(context, target, (client, name) => restoreRoles(client, name, roleConnectionLimit(context)))

const close: Repair = (context, target) => onOwnDatabase(context, target, closeDatabase)

/** Every repair that puts nobody's data at risk. Each looks again before it acts, and can be repeated. */
export const repairs: Partial<Record<FindingKind, Repair>> = {
  half_built_database: giveUpAndErase('building'),
  unfinished_erase: giveUpAndErase(),
  missing_database: giveUpAndErase('spare', 'retired'),
  invalid_database: giveUpAndErase('spare', 'retired'),
  orphan_database: eraseOrphan,
  cluster_open_to_public: async (context, target) => {
    const cluster = await getCluster(context.master.db, context.box, target.clusterId ?? '')
    await context.provisioner.use(cluster, (client) => secureCluster(client, cluster, context.master))
  },
  missing_role: makeLoginRole,
  open_to_others: close,
  closed_to_tenant: close,
  excess_rights: resetRoles,
  role_changed: resetRoles,
  left_template: dropLeftTemplate,
  deed_to_wrong_database: async ({ master }, { databaseId = '' }) => {
    await master.db
      .updateTable('databases')
      .set({ status: 'held', updated_at: sql<Date>`now()` })
      .where('id', '=', databaseId)
      .where('status', '=', 'spare')
      .execute()
  },
  stalled_operation: async ({ master }, { operationId = '' }) => {
    await master.db
      .updateTable('operations')
      .set({
        status: 'failed',
        error: diedWithProcess,
        updated_at: sql<Date>`now()`,
        finished_at: sql<Date>`now()`,
      })
      .where('id', '=', operationId)
      .where('status', '=', 'running')
      .execute()
  },
  tenant_not_told: ({ master }, { tenantId = '' }) => wakeOutbox(master.db, tenantId),
  tenant_pending: ({ master }, { tenantId = '' }) => enqueueProvision(master.db, tenantId),
  old_schema: ({ master }) =>
    enqueue(master.db, 'migrate-databases', {}, { jobKey: 'migrate-databases', queue: 'migrate-databases' }),
  too_few_spares: ({ master }) => enqueueRefill(master.db),
}
