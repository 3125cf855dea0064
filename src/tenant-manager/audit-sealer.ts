import type { Signer } from '../master/audit-checkpoints.ts'
import { loadAuditKey } from '../master/audit-keys.ts'
import { type Cluster, listClusters } from './cluster.ts'
import { type Context, eachLimited } from './context.ts'
import type { HeldLock } from './live-locks.ts'
import { BrokenChainError, type Sealable, sealAudit } from './seal-audit.ts'

/** Databases sealed at once; others need the provisioner's connections too. */
const sealersAtOnce = 2
/** Milliseconds until a database that could not be sealed is looked at again. */
const pause = 30_000

export type AuditSealer = {
  /** Looks at every database that was written to since the last pass, and seals what is new in its audit log. */
  pass(): Promise<void>
  /** Lets another process do it. */
  release(): Promise<void>
}

type Written = { datname: string; n: string }

/** How many rows were ever written, by database: kept by the server itself, so that nobody has to tell us. */
const readWritten = (context: Context, cluster: Cluster): Promise<Written[]> =>
  context.provisioner.use(cluster, async (client) => {
    const { rows } = await client.query<Written>(
      "select datname, tup_inserted::text as n from pg_stat_database where datname like 't\\_%'",
    )
    return rows
  })

/** Databases whose schema is up to date; the others are sealed when they are. */
export const sealable = ({ master, migrations }: Context) =>
  master.db
    .selectFrom('databases')
    .innerJoin('tenants', 'tenants.database_id', 'databases.id')
    .select(['tenants.id as tenantId', 'databases.name', 'databases.cluster_id as clusterId'])
    .where('databases.schema_version', '>=', migrations.latest)

const findTenants = (context: Context, names: readonly string[]): Promise<Sealable[]> =>
  sealable(context).where('databases.name', 'in', names).execute()

/** What signs for this installation. */
export const signerOf = async ({ master, box, installationId }: Context): Promise<Signer> => ({
  key: await loadAuditKey(master.db, box),
  installationId,
})

/** Seals one tenant's audit log now; does nothing for a tenant without a database. Throws as `sealAudit` does. */
export const sealTenant = async (context: Context, tenantId: string): Promise<void> => {
  const target = await sealable(context).where('tenants.id', '=', tenantId).executeTakeFirst()
  if (target !== undefined) await sealAudit(context, await signerOf(context), target)
}

/**
 * Keeps the audit logs of all tenants sealed, on one node of all. What a pass finds is known from the servers' own counters, so
 * writing costs nothing and idle tenants are not looked at. A new process looks at everything once.
 */
export const createAuditSealer = (context: Context): AuditSealer => {
  const { master, box, locks, log } = context
  /** What a database's counter was before it was found sealed. */
  const sealedAt = new Map<string, string>()
  const notBefore = new Map<string, number>()
  let lock: HeldLock | undefined
  let signer: Signer | undefined

  const isMine = async (): Promise<boolean> => {
    if (lock === undefined || lock.lost) lock = await locks.tryHold('audit-sealer')
    return lock !== undefined
  }
  const sealOne = async (target: Sealable, written: string): Promise<void> => {
    signer ??= await signerOf(context)
    const { name, tenantId } = target
    try {
      await sealAudit(context, signer, target)
      sealedAt.set(name, written)
      notBefore.delete(name)
    } catch (error) {
      notBefore.set(name, Date.now() + pause)
      if (error instanceof BrokenChainError) log.error({ tenantId, err: error }, 'an audit log was changed')
      else log.warn({ tenantId, err: error }, 'an audit log could not be sealed')
    }
  }
  const sealOn = async (cluster: Cluster): Promise<void> => {
    const written = new Map((await readWritten(context, cluster)).map(({ datname, n }) => [datname, n]))
    const changed = [...written.keys()].filter(
      (name) => sealedAt.get(name) !== written.get(name) && (notBefore.get(name) ?? 0) <= Date.now(),
    )
    if (changed.length === 0) return
    const targets = await findTenants(context, changed)
    await eachLimited(targets, sealersAtOnce, (target) => sealOne(target, written.get(target.name) ?? ''))
  }
  return {
    pass: async () => {
      if (!(await isMine())) return
      for (const cluster of await listClusters(master.db, box)) {
        await sealOn(cluster).catch((error: unknown) =>
          log.warn({ cluster: cluster.name, err: error }, 'audit logs on this cluster could not be sealed'),
        )
      }
    },
    release: async () => {
      const held = lock
      lock = undefined
      await held?.release()
    },
  }
}
