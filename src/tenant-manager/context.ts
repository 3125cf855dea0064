import type { SecretBox } from '../kernel/crypto.ts'
import type { Logger } from '../kernel/log.ts'
import type { Master } from '../master/master.ts'
import type { MigrationSet } from '../migrator/migration-set.ts'
import type { LiveLocks } from './live-locks.ts'
import type { Provisioner } from './provisioner.ts'

/** What the tenant manager's functions share. */
export type Context = Readonly<{
  master: Master
  box: SecretBox
  installationId: string
  log: Logger
  locks: LiveLocks
  provisioner: Provisioner
  /** Names of the templates that this process looks for or has found, by cluster. */
  templates: Map<string, Promise<string>>
  /** What every tenant database must have; its last name is the current schema version. */
  migrations: MigrationSet
  /** Usable spares that each open shared cluster should have. */
  spareDatabases: number
  /** Days for which the audit log of an erased tenant is kept; 0: not at all. */
  auditArchiveDays: number
  /** Connections that the nodes together keep one tenant to. */
  tenantMaxConnections: number
}>

/**
 * The limit on a tenant's login role: the last wall, behind what the nodes keep to. Twice that, because while nodes come and
 * go those that leave still have connections which those that stay may open already.
 */
export const roleConnectionLimit = ({ tenantMaxConnections }: Context): number => 2 * tenantMaxConnections

/** Builds, migrations and erasures at once on one cluster, from this process. */
export const lifecycleConcurrency = 4

/** Runs `work` on each item, at most `limit` at once. Waits for all, then throws the first error there was. */
export const eachLimited = async <T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> => {
  const errors: unknown[] = []
  const queue = items.values()
  const runner = async (): Promise<void> => {
    for (const item of queue) await work(item).catch((error: unknown) => errors.push(error))
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runner))
  if (errors.length > 0) throw errors[0]
}

/** The lock that proves that a process works on this database right now. */
export const databaseLock = (databaseId: string): string => `database:${databaseId}`
export const tenantLock = (tenantId: string): string => `tenant:${tenantId}`

/** The comment on an owner role that says whose database it is. */
export const ownershipMark = (installationId: string): string => `freehold ${installationId}`
