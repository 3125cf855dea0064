import { announceFirstAdmin, type FirstAdmin } from './access/first-admin.ts'
import { Grants } from './access/grants.ts'
import { createPasswords, type PasswordCost, type Passwords } from './access/passwords.ts'
import { createRateLimits, masterLimits, noRateLimits, type RateLimits } from './access/rate-limits.ts'
import type { createRedisLimits, RedisLimits } from './access/redis-limits.ts'
import { RequestCounts } from './access/request-counts.ts'
import { loadSigningKeys, type SigningKeys } from './access/signing-keys.ts'
import { createAccountTasks } from './account-tasks.ts'
import { ConnectionRouter } from './connection-router/connection-router.ts'
import { type Clock, millisecondsOf, systemClock } from './kernel/clock.ts'
import type { Config } from './kernel/config.ts'
import type { KeyRing } from './kernel/crypto.ts'
import { OperatorError } from './kernel/errors.ts'
import { newId } from './kernel/ids.ts'
import type { Logger } from './kernel/log.ts'
import type { PostgresAddress } from './kernel/postgres-address.ts'
import { type ChangeFeed, openChangeFeed } from './master/changes.ts'
import { followMasterKey } from './master/installation.ts'
import type { Master } from './master/master.ts'
import { forgetNodes, setConnectionBudget } from './master/nodes.ts'
import { findPlacement } from './master/placement.ts'
import { findTenantPlan } from './master/plans.ts'
import { connectionBudget, createNodeShares, missingConnections } from './node-shares.ts'
import { allKeys, type FindMasterKeys, openUpToDateMaster } from './open-master.ts'
import { createTenantWakeUps, type TenantWakeUps } from './queue/tenant-wakeups.ts'
import type { JobTypes } from './tenant/jobs/job-type.ts'
import { createJobRunner, type JobRunner } from './tenant/jobs/looks.ts'
import { jobTypes } from './tenant/jobs/registry.ts'
import type { TenantTables } from './tenant/tables.ts'
import { probeServer } from './tenant-manager/probe-server.ts'
import { createTenantManager, type TenantManager } from './tenant-manager/tenant-manager.ts'

import type { AccountTasks } from './worker.ts'

/** Where the servers are and the key that opens what is sealed: found out by `main`, embedded or given. */
export type Grounds = {
  master: PostgresAddress
  provisioner: PostgresAddress
  masterKey: FindMasterKeys
  /** True when no other node can be alive, because this process has just started the server they would need. */
  alone?: boolean
}

/** Everything one node is made of, built once and closed in reverse. */
export type Service = {
  /** This process in the register of nodes. */
  readonly nodeId: string
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly master: Master
  readonly box: KeyRing
  readonly keys: SigningKeys
  readonly passwords: Passwords
  readonly limits: RateLimits
  /** Requests in tenants, by the minute. */
  readonly requests: RequestCounts
  /** Whether limits are counted in Redis just now; undefined where none is configured. */
  readonly redisIsUp: (() => boolean) | undefined
  readonly grants: Grants
  readonly manager: TenantManager
  readonly router: ConnectionRouter<TenantTables>
  /** What all nodes together may have on each cluster and what this one may, as it last heard it. */
  budgets(): readonly { clusterId: string; whole: number; granted: number }[]
  readonly changes: ChangeFeed
  /** False once the master key was rotated to one that this node was not given. */
  knowsMasterKey(): boolean
  readonly accountTasks: AccountTasks
  /** Every type of job that tenants may put in. */
  readonly jobTypes: JobTypes
  /** How a worker hears of tenants' jobs. */
  readonly wakeUps: TenantWakeUps
  readonly jobRunner: JobRunner
  /** Makes the first admin if there is none yet, and shows it; see access/first-admin.ts. */
  announceFirstAdmin(show: (admin: FirstAdmin | undefined) => void): Promise<void>
  close(): Promise<void>
}

/** The driver is only loaded where there is a Redis. */
const openRedisLimits = async (...given: Parameters<typeof createRedisLimits>): Promise<RedisLimits> =>
  (await import('./access/redis-limits.ts')).createRedisLimits(...given)

/** Builds the node. When a step fails, what was opened before is closed again and the error goes on. */
export const openService = async (
  config: Config,
  grounds: Grounds,
  log: Logger,
  clock: Clock = systemClock,
  passwordCost?: PasswordCost,
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
      auditArchiveDays: config.auditArchiveDays,
    })
    closers.push(() => manager.close())
    const cluster = await manager.prepareDefaultCluster(grounds.provisioner)
    const budget = connectionBudget(config, server)
    const missing = missingConnections(budget, server)
    if (missing > 0) {
      log.warn(
        { ...budget, missing },
        'the server allows too few connections: raise max_connections or lower CONNECTION_BUDGET',
      )
    }
    await setConnectionBudget(master.db, cluster.id, budget)
    if (grounds.alone === true) await forgetNodes(master.db)
    const inMaster = masterLimits(master.db)
    const wanted = config.rateLimits ? config.redis : undefined
    const redis = wanted && (await openRedisLimits(wanted, `freehold:${installationId}`, inMaster, log))
    closers.push(async () => redis?.close())
    const requests = new RequestCounts(master.db, log, millisecondsOf(clock))
    closers.push(() => requests.close())
    const passwords = await createPasswords({ cost: passwordCost })
    const keys = await loadSigningKeys(master.db, box, clock)

    // A new key signs ten minutes after it is heard of; whoever missed that reads it when the channel is back.
    const reloadKeys = (): void => {
      keys.reload().catch((error: unknown) => log.warn({ err: error }, 'the signing keys cannot be read'))
    }

    // A rotation of the master key says so before it begins, for the nodes to read the new one, and when it has begun.
    let knowsMasterKey = true
    const followKey = async (): Promise<void> => {
      box.learn(allKeys(await grounds.masterKey(master.db)))
      await followMasterKey(master.db, box).then(
        () => {
          knowsMasterKey = true
        },
        (error: unknown) => {
          knowsMasterKey = !(error instanceof OperatorError)
          throw error
        },
      )
    }
    const followKeyNow = (): void => {
      followKey().catch((error: unknown) => log.error({ err: error }, 'the master key cannot be followed'))
    }

    const freshness: { feed: ChangeFeed | undefined } = { feed: undefined }
    const isFresh = (): boolean => freshness.feed?.isFresh() ?? false
    const grants = new Grants(master, isFresh, clock)
    const nodeId = newId()
    const shares = createNodeShares({
      id: nodeId,
      config,
      master: grounds.master,
      keys: box,
      log,
      router: () => router,
    })
    closers.push(() => shares.close())
    const router = new ConnectionRouter<TenantTables>({
      findTenant: findPlacement(master, box),
      budget: (clusterId) => shares.shareOf(clusterId),
      mayOpen: () => shares.holds,
      nodes: () => shares.nodes,
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
          if (change === 'access') reloadKeys()
          if (change === 'master-key') followKeyNow()
          // Plans change so seldom that it does not matter how many tenants have another one.
          if (change.startsWith('plan:')) router.invalidateAll()
          if (change.startsWith('tenant:')) router.invalidate(change.slice('tenant:'.length))
        },
        onGap: () => {
          grants.forgetAll()
          reloadKeys()
          followKeyNow()
          router.invalidateAll()
        },
      },
      log,
    )
    freshness.feed = changes
    closers.push(() => changes.close())
    await shares.open()
    const wakeUps = createTenantWakeUps(master.db, log)
    closers.push(() => wakeUps.close())
    const jobRunner = createJobRunner({
      workerId: nodeId,
      use: (tenantId, work, options) => router.use(tenantId, work, options),
      planOf: (tenantId) => findTenantPlan(master.db, tenantId),
      jobTypes,
      wakeUps,
      log,
    })
    return {
      nodeId,
      config,
      clock,
      log,
      master,
      box,
      keys,
      passwords,
      limits: config.rateLimits ? createRateLimits(redis ?? inMaster) : noRateLimits,
      requests,
      redisIsUp: redis?.isUp,
      grants,
      manager,
      router,
      budgets: () => shares.grants(),
      changes,
      knowsMasterKey: () => knowsMasterKey,
      accountTasks: createAccountTasks({ config, db: master.db, box, log, clock }),
      jobTypes,
      wakeUps,
      jobRunner,
      announceFirstAdmin: (show) => announceFirstAdmin(master.db, passwords, config.admin, show),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
