import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { setConnectionBudget } from '../../src/master/nodes.ts'
import { sealedFor } from '../../src/master/secrets.ts'
import { connectionBudget } from '../../src/node-shares.ts'
import { openService } from '../../src/service.ts'
import { probeServer } from '../../src/tenant-manager/probe-server.ts'
import type { ColdTenant } from './cold-node.ts'

/** A server with very few connections and very many databases. */
export type ColdGround = Readonly<{
  postgres: EmbeddedPostgres
  tenants: readonly ColdTenant[]
  /** What all nodes together may have for tenants. */
  budget: number
  close(): Promise<void>
}>

const nodes = 2

/** Makes the databases that are missing, as spares: whether anybody owns them is nothing to a connect. */
const build = async (dataDir: string, count: number): Promise<void> => {
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false })
  const { master, provisioner } = postgres
  const config = { ...loadConfig({ ROLE: 'api' }), spareDatabases: count }
  const grounds = { master, provisioner, masterKey: async () => Buffer.alloc(32, 1), alone: true }
  try {
    const service = await openService(config, grounds, createLogger('error'))
    try {
      await service.manager.refillSpares()
    } finally {
      await service.close()
    }
  } finally {
    await postgres.stop()
  }
}

/** Reads the databases, and sets the budget for this `max_connections` as the first node of an installation would. */
const describe = async (
  { master, provisioner }: EmbeddedPostgres,
  count: number,
): Promise<Pick<ColdGround, 'tenants' | 'budget'>> => {
  const config = loadConfig({ ROLE: 'api' })
  const grounds = { master, provisioner, masterKey: async () => Buffer.alloc(32, 1), alone: true }
  const service = await openService(config, grounds, createLogger('error'))
  try {
    const { db } = service.master
    const rows = await db
      .selectFrom('databases as d')
      .innerJoin('clusters as c', 'c.id', 'd.cluster_id')
      .select(['d.id', 'd.cluster_id', 'd.name', 'd.secret', 'd.credential_version', 'c.host', 'c.port'])
      .where('d.status', '=', 'spare')
      .limit(count)
      .execute()
    const tenants = rows.map(({ id, cluster_id, name, secret, credential_version, host, port }) => {
      const sealed = sealedFor.databaseSecret({ id, cluster_id, name, credential_version })
      const password = service.box.open(secret, sealed).toString()
      const address = { host, port, database: name, user: name, password, ssl: 'disable' } as const
      return { tenantId: id, clusterId: cluster_id, address }
    })
    const { budget, perNode } = connectionBudget(config, await probeServer(provisioner))
    const whole = { budget, perNode }
    for (const clusterId of new Set(tenants.map((tenant) => tenant.clusterId)))
      await setConnectionBudget(db, clusterId, whole)
    return { tenants, budget: budget - nodes * perNode }
  } finally {
    await service.close()
  }
}

/** Prepares the server; in `keep`, when it is given, where the databases are found again by the next run. */
export const openColdGround = async (
  count: number,
  maxConnections: number,
  keep: string | undefined,
): Promise<ColdGround> => {
  const folder = keep ?? (await realpath(await mkdtemp(join(tmpdir(), 'bench-cold-'))))
  const dataDir = join(folder, 'data')
  const remove = async (): Promise<void> => {
    if (keep === undefined) await rm(folder, { recursive: true, force: true })
  }
  try {
    // Started by root, the server runs as a user who must be able to walk to its data.
    if (keep === undefined) await chmod(folder, 0o711)
    await build(dataDir, count)
    const postgres = await startEmbeddedPostgres({ dataDir, durable: false, maxConnections })
    const close = async (): Promise<void> => {
      await postgres.stop()
      await remove()
    }
    try {
      return { postgres, ...(await describe(postgres, count)), close }
    } catch (error) {
      await close()
      throw error
    }
  } catch (error) {
    await remove()
    throw error
  }
}
