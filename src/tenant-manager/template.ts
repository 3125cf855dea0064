import type pg from 'pg'
import { databaseName } from '../kernel/ids.ts'
import { migrate } from '../migrator/migrate.ts'
import type { MigrationSet } from '../migrator/migration-set.ts'
import type { Cluster } from './cluster.ts'
import { type Context, ownershipMark } from './context.ts'
import { connectedTo, quoteName, quoteText } from './provisioner.ts'
import { templateOwner } from './secure-cluster.ts'

/** The database that new ones are copied from; its name changes with any byte of the migrations. */
export const templateName = (set: MigrationSet): string => `freehold_template_${set.hash.slice(0, 16)}`

/** Where a template is built before it gets its name. Names this installation, so that what a crash left is known as ours. */
export const unfinishedTemplateName = (installationId: string): string =>
  `freehold_unfinished_${databaseName(installationId).slice(2)}`

/** One builder on the whole server at a time: "template" in ASCII, cut to 31 bits. */
export const templateLock = 0x74656d70

/**
 * Makes sure that the cluster has the template for the current migrations; returns its name. Looks once per process
 * and cluster. `fresh` looks again: an operator may have dropped it.
 */
export const ensureTemplate = (context: Context, cluster: Cluster, fresh = false): Promise<string> => {
  const known = context.templates.get(cluster.id)
  if (known !== undefined && !fresh) return known
  const made = findOrBuild(context, cluster)
  context.templates.set(cluster.id, made)
  made.catch(() => {
    if (context.templates.get(cluster.id) === made) context.templates.delete(cluster.id)
  })
  return made
}

const exists = async (client: pg.Client, name: string): Promise<boolean> => {
  const { rows } = await client.query(
    'select from pg_database where datname = $1 and datistemplate and not datallowconn',
    [name],
  )
  return rows.length > 0
}

const findOrBuild = (context: Context, cluster: Cluster): Promise<string> =>
  context.provisioner.use(cluster, async (client) => {
    const name = templateName(context.migrations)
    if (await exists(client, name)) return name
    await client.query('select pg_advisory_lock($1)', [templateLock])
    try {
      if (!(await exists(client, name))) await build(context, cluster, client, name)
    } finally {
      await client.query('select pg_advisory_unlock($1)', [templateLock])
    }
    return name
  })

/** Drops a template, finished or not. */
export const dropTemplate = async (client: pg.Client, name: string): Promise<void> => {
  const { rows } = await client.query('select from pg_database where datname = $1 and datistemplate', [name])
  if (rows.length > 0) await client.query(`alter database ${quoteName(name)} with is_template false`)
  await client.query(`drop database if exists ${quoteName(name)} with (force)`)
}

const build = async (context: Context, cluster: Cluster, client: pg.Client, name: string): Promise<void> => {
  const unfinished = unfinishedTemplateName(context.installationId)
  const database = quoteName(unfinished)
  await dropTemplate(client, unfinished)
  await dropTemplate(client, name)
  // Owned by the provisioner: REASSIGN OWNED in a copy also moves every database that its objects' owner has.
  await client.query(`create database ${database} template template0 encoding 'UTF8'`)
  await client.query(`revoke all on database ${database} from public`)
  await client.query(`comment on database ${database} is ${quoteText(ownershipMark(context.installationId))}`)
  // Not through the gate: this work holds a place there already.
  await connectedTo(cluster, unfinished, (inside) => fill(inside, database, context.migrations))
  await client.query(`alter database ${database} with is_template true allow_connections false`)
  await client.query(`alter database ${database} rename to ${quoteName(name)}`)
  context.log.info({ template: name, cluster: cluster.name }, 'template built')
}

/** The owner of the objects may make any, but only while the template is made: a copy inherits what its schemas grant. */
const fill = async (client: pg.Client, database: string, set: MigrationSet): Promise<void> => {
  const owner = quoteName(templateOwner)
  await client.query(`grant create on database ${database} to ${owner}`)
  await client.query(`grant create on schema public to ${owner}`)
  await client.query(`set role ${owner}`)
  await migrate(client, set)
  await client.query('reset role')
  await client.query(`revoke create on schema public from ${owner}`)
  await client.query(`revoke create on database ${database} from ${owner}`)
}
