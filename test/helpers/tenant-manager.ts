import type pg from 'pg'
import type { Test } from 'tap'
import { syncSystemRoles } from '../../src/access/system-roles.ts'
import { createSecretBox, type SecretBox } from '../../src/kernel/crypto.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openInstallation } from '../../src/master/installation.ts'
import { type Master, openMaster } from '../../src/master/master.ts'
import { migrateMaster } from '../../src/master/migrate-master.ts'
import { migrateQueue } from '../../src/queue/migrate-queue.ts'
import type { Cluster } from '../../src/tenant-manager/cluster.ts'
import type { NewTenant, TenantRow } from '../../src/tenant-manager/create-tenant.ts'
import {
  createTenantManager,
  type TenantManager,
  type TenantManagerOptions,
} from '../../src/tenant-manager/tenant-manager.ts'
import { connectTo, type TestPostgres } from './postgres.ts'

export const testMasterKey = Buffer.alloc(32, 7)

/** One node's tenant manager on a migrated master. */
export type Landlord = {
  master: Master
  box: SecretBox
  installationId: string
  manager: TenantManager
  cluster: Cluster
  /** A person, to be somebody's first admin. */
  personId: string
  createTenant(tenant?: Partial<NewTenant>): Promise<TenantRow>
}

/** Like a node's own start, without HTTP. `install` runs the migrations; further nodes on one master leave it out. */
export const openLandlord = async (
  addresses: { master: PostgresAddress; provisioner: PostgresAddress },
  options: Partial<TenantManagerOptions> & { install?: boolean } = {},
): Promise<Landlord & { close(): Promise<void> }> => {
  const { install = true, ...given } = options
  const log = createLogger('silent')
  if (install) await migrateMaster(addresses.master)
  const master = openMaster(addresses.master, log)
  if (install) await migrateQueue(master.pool)
  const box = createSecretBox(testMasterKey)
  const installationId = await openInstallation(master.db, box)
  if (install) await syncSystemRoles(master.db)
  const manager = createTenantManager({
    ...{ master, box, installationId, log, spareDatabases: 3, tenantMaxConnections: 8 },
    ...given,
  })
  const cluster = await manager.prepareDefaultCluster(addresses.provisioner)
  const personId = newId()
  await master.db
    .insertInto('people')
    .values({ id: personId, email: `${personId}@example.com`, first_name: 'Test' })
    .execute()
  return {
    ...{ master, box, installationId, manager, cluster, personId },
    createTenant: (tenant = {}) =>
      manager.createTenant(master.db, {
        name: 'Test',
        plan: 'free',
        tier: 'shared',
        firstAdmin: personId,
        by: { actor: { kind: 'person', id: personId } },
        ...tenant,
      }),
    close: async () => {
      await manager.close()
      await master.close()
    },
  }
}

/** The same, closed after the test. */
export const startLandlord = async (
  t: Test,
  postgres: TestPostgres,
  options?: Partial<TenantManagerOptions> & { install?: boolean },
): Promise<Landlord> => {
  const landlord = await openLandlord(postgres, options)
  t.teardown(() => landlord.close())
  return landlord
}

/** A connection to the tenant's database as the server's superuser, behind Freehold's back. */
export const databaseOf = async (
  t: Test,
  { db, superuser }: { db: Master['db']; superuser: PostgresAddress },
  tenantId: string,
): Promise<pg.Client> => {
  const { name } = await db
    .selectFrom('tenants')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .select('databases.name')
    .where('tenants.id', '=', tenantId)
    .executeTakeFirstOrThrow()
  return connectTo(t, { ...superuser, database: name })
}
