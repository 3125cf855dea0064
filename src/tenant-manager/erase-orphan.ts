import type pg from 'pg'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { ownershipMark } from './context.ts'
import { dropOwned } from './erase-database.ts'
import type { Finding } from './findings.ts'

/**
 * Erases a database and roles that carry this installation's mark but that the master does not know. Such a thing is the
 * trace of a crash, or the master was restored from a backup older than it: so it is only erased when nobody has ever
 * used it. Throws when somebody has.
 */
export const eraseOrphan = async (
  context: Context,
  { clusterId = '', name = '' }: Finding['target'],
): Promise<void> => {
  const { db } = context.master
  const known = await db.selectFrom('databases').select('id').where('name', '=', name).executeTakeFirst()
  if (known !== undefined) return
  const cluster = await getCluster(db, context.box, clusterId)
  if (await context.provisioner.use(cluster, (client) => canBeAsked(client, name))) {
    if (await context.provisioner.use(cluster, wasUsed, name)) {
      throw new Error(`database ${name} holds data, so it is not erased`)
    }
  }
  await dropOwned(context, cluster, name)
  context.log.warn(
    { database: name, mark: ownershipMark(context.installationId) },
    'an orphan database was erased',
  )
}

/** Roles without a database have nothing to lose, and what an interrupted DROP left cannot be read any more. */
const canBeAsked = async (client: pg.Client, name: string): Promise<boolean> => {
  const { rows } = await client.query('select from pg_database where datname = $1 and datconnlimit <> -2', [
    name,
  ])
  return rows.length > 0
}

/** Every change a tenant makes is written with its audit entry, in one transaction: no entry, no data. */
const wasUsed = async (client: pg.Client): Promise<boolean> => {
  const { rows } = await client.query<{ used: boolean }>('select exists (select from audit_log) as used')
  return rows[0]?.used !== false
}
