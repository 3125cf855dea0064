import { fileURLToPath } from 'node:url'
import type { SecretBox } from '../kernel/crypto.ts'
import type { Logger } from '../kernel/log.ts'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import type { Master, MasterDb, MasterTransaction } from '../master/master.ts'
import { readMigrationSet } from '../migrator/migration-set.ts'
import { askRolls } from './ask-rolls.ts'
import { type AuditSealer, createAuditSealer, sealTenant } from './audit-sealer.ts'
import { buildDatabase } from './build-database.ts'
import { claimSpare, type Wanted } from './claim-spare.ts'
import { type Cluster, getCluster, registerDefaultCluster } from './cluster.ts'
import { pingClusters, startFacts } from './cluster-facts.ts'
import type { Context } from './context.ts'
import { createTenant, type NewTenant } from './create-tenant.ts'
import { deliverOutbox } from './deliver-outbox.ts'
import { eraseDatabase } from './erase-database.ts'
import { inspect } from './inspect.ts'
import { LiveLocks } from './live-locks.ts'
import { measureStorage } from './measure-storage.ts'
import { migrateDatabases } from './migrate-databases.ts'
import { provisionTenant } from './provision-tenant.ts'
import { Provisioner } from './provisioner.ts'
import { pruneAuditLogs } from './prune-audit.ts'
import { purgeTenants } from './purge-tenants.ts'
import { repair } from './reconcile.ts'
import { refillSpares } from './refill-spares.ts'
import { secureCluster } from './secure-cluster.ts'
import { verifyAudit } from './verify-audit.ts'

export type TenantManagerOptions = {
  master: Master
  box: SecretBox
  installationId: string
  log: Logger
  /** Usable spares that each open shared cluster should have. */
  spareDatabases: number
  /** Connections that the nodes together keep one tenant to; its login role's own limit is twice that. */
  tenantMaxConnections: number
  /** Days for which the audit log of an erased tenant is kept; default 90, 0: not at all. */
  auditArchiveDays?: number
  /** Where the migrations of tenant databases are; default: those of this release. */
  migrationsFolder?: string
}

const ownMigrations = fileURLToPath(new URL('../../migrations-tenant', import.meta.url))

export type TenantManager = ReturnType<typeof createTenantManager>

/**
 * Everything that creates, migrates and destroys tenant databases, and the only code with provisioner rights. Connects on
 * first use; `close` gives up its locks, so call it when its work is done.
 */
export const createTenantManager = (options: TenantManagerOptions) => {
  const { migrationsFolder = ownMigrations, auditArchiveDays = 90, ...given } = options
  const locks = new LiveLocks(given.master, given.log)
  const open = async (): Promise<Context> => ({
    ...given,
    auditArchiveDays,
    locks,
    provisioner: new Provisioner(),
    templates: new Map(),
    migrations: await readMigrationSet(migrationsFolder),
  })
  let opening: Promise<Context> | undefined
  const context = (): Promise<Context> => {
    opening ??= open()
    return opening
  }
  let sealer: AuditSealer | undefined
  return {
    locks,
    /** Enters the server beside the master as cluster `default` and makes it fit for tenants; OperatorError says what is missing. */
    async prepareDefaultCluster(provisioner: PostgresAddress, region?: string): Promise<Cluster> {
      const { master, box, provisioner: connections } = await context()
      const options = { db: master.db, box, provisioner, ...(region === undefined ? {} : { region }) }
      const cluster = await registerDefaultCluster(options)
      await connections.use(cluster, (client) => secureCluster(client, cluster, master))
      return cluster
    },
    async buildDatabase(clusterId: string) {
      const ready = await context()
      return buildDatabase(ready, await getCluster(ready.master.db, ready.box, clusterId))
    },
    async claimSpare(trx: MasterTransaction, wanted: Wanted) {
      return claimSpare(trx, wanted, (await context()).migrations.latest)
    },
    async createTenant(db: MasterDb, tenant: NewTenant) {
      return createTenant(given.master, db, tenant, (await context()).migrations.latest)
    },
    provisionTenant: async (tenantId: string) => provisionTenant(await context(), tenantId),
    refillSpares: async () => refillSpares(await context()),
    eraseDatabase: async (databaseId: string) => eraseDatabase(await context(), databaseId),
    /** Erases the deleted tenants whose grace is over. */
    purgeTenants: async () => purgeTenants(await context()),
    /** Measures what each tenant's database holds, and keeps it in the master. */
    measureStorage: async () => measureStorage(await context()),
    migrateDatabases: async () => migrateDatabases(await context()),
    /** The schema version that this release brings tenant databases to. */
    schemaVersion: async () => (await context()).migrations.latest,
    /** Tells the tenant's database what waits for it in the master, each thing once however often it is called. */
    deliverOutbox: async (tenantId: string) => deliverOutbox(await context(), tenantId),
    /** Has directories compared with the master that were not for a day. */
    askRolls: async () => askRolls(await context()),
    /** Seals what is new in the audit logs of tenants, unless another node does. */
    sealAuditLogs: async () => {
      sealer ??= createAuditSealer(await context())
      await sealer.pass()
    },
    /** Seals one tenant's audit log now. */
    sealAudit: async (tenantId: string) => sealTenant(await context(), tenantId),
    /** Leaves the sealing to another node. */
    stopSealing: async () => sealer?.release(),
    /** Removes entries older than so many days from tenants' audit logs. */
    pruneAuditLogs: async (days: number) => pruneAuditLogs(await context(), days),
    verifyAudit: async (tenantId: string) => verifyAudit(await context(), tenantId),
    /** How many open clusters there are; throws when one of them does not answer. */
    pingClusters: async () => pingClusters(await context()),
    /** For the summary at start: usable spares, and the version of the first cluster's server. */
    startFacts: async () => startFacts(await context()),
    inspect: async () => inspect(await context()),
    repair: async () => repair(await context()),
    close: () => locks.close(),
  }
}
