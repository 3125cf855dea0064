import { ensureFirstAdmin, type FirstAdmin, firstAdminShown } from './access/first-admin.ts'
import { Grants } from './access/grants.ts'
import { createPasswords, type Passwords } from './access/passwords.ts'
import { loadSigningKeys, type SigningKeys } from './access/signing-keys.ts'
import { ConnectionRouter } from './connection-router/connection-router.ts'
import { type Clock, systemClock } from './kernel/clock.ts'
import type { Config } from './kernel/config.ts'
import type { SecretBox } from './kernel/crypto.ts'
import type { Logger } from './kernel/log.ts'
import type { PostgresAddress } from './kernel/postgres-address.ts'
import { type ChangeFeed, openChangeFeed } from './master/changes.ts'
import type { Master, MasterDb } from './master/master.ts'
import { findPlacement } from './master/placement.ts'
import { openUpToDateMaster } from './open-master.ts'
import type { TenantTables } from './tenant/tables.ts'
import { probeServer } from './tenant-manager/probe-server.ts'
import { createTenantManager, type TenantManager } from './tenant-manager/tenant-manager.ts'

/** Where the servers are and the key that opens what is sealed: found out by `main`, embedded or given. */
export type Grounds = {
  master: PostgresAddress
  provisioner: PostgresAddress
  masterKey: (db: MasterDb) => Promise<Buffer>
}

/** Everything one node is made of, built once and closed in reverse. */
export type Service = {
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly master: Master
  readonly box: SecretBox
  readonly keys: SigningKeys
  readonly passwords: Passwords
  readonly grants: Grants
  readonly manager: TenantManager
  readonly router: ConnectionRouter<TenantTables>
  readonly changes: ChangeFeed
  /** To be shown to the operator; `firstAdminShown` then remembers that it was. */
  readonly firstAdmin: FirstAdmin | undefined
  firstAdminShown(): Promise<void>
  close(): Promise<void>
}

/** Connections of a cluster that are not for tenants: the master's own pool, the provisioner, operators with psql. */
const reservedConnections = 40

const routerBudget = (config: Config, maxConnections: number): number =>
  config.connectionBudget ?? Math.max(4, Math.min(400, maxConnections - reservedConnections))

/** Builds the node. When a step fails, what was opened before is closed again and the error goes on. */
export const openService = async (
  config: Config,
  grounds: Grounds,
  log: Logger,
  clock: Clock = systemClock,
): Promise<Service> => {
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer()
  }
  try {
    const server = await probeServer(grounds.provisioner)
    const { master, box, installationId } = await openUpToDateMaster(grounds.master, grounds.masterKey, log)
    closers.push(() => master.close())
    const manager = createTenantManager({
      master,
      box,
      installationId,
      log,
      spareDatabases: config.spareDatabases,
      tenantMaxConnections: config.tenantMaxConnections,
    })
    closers.push(() => manager.close())
    await manager.prepareDefaultCluster(grounds.provisioner)
    const passwords = await createPasswords()
    const keys = await loadSigningKeys(master.db, box)
    const firstAdmin = await ensureFirstAdmin(master.db, passwords, config.admin)

    const freshness: { feed: ChangeFeed | undefined } = { feed: undefined }
    const isFresh = (): boolean => freshness.feed?.isFresh() ?? false
    const grants = new Grants(master.db, isFresh)
    const router = new ConnectionRouter<TenantTables>({
      findTenant: findPlacement(master.db, box),
      budget: routerBudget(config, server.maxConnections),
      tenantMaxConnections: config.tenantMaxConnections,
      isFresh,
      log,
      clock,
    })
    closers.push(() => router.close())
    const changes = await openChangeFeed(
      grounds.master,
      {
        onChange: (change) => {
          grants.forget(change)
          if (change.startsWith('tenant:')) router.invalidate(change.slice('tenant:'.length))
        },
        onGap: () => {
          grants.forgetAll()
          router.invalidateAll()
        },
      },
      log,
    )
    freshness.feed = changes
    closers.push(() => changes.close())
    return {
      config,
      clock,
      log,
      master,
      box,
      keys,
      passwords,
      grants,
      manager,
      router,
      changes,
      firstAdmin,
      firstAdminShown: () => firstAdminShown(master.db),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
