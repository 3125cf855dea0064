import { execFile } from 'node:child_process'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { startSession } from '../../src/access/sessions.ts'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { type AccessTokens, registerAccessTokens } from '../../src/http/access-tokens.ts'
import type { App } from '../../src/http/app.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { findPlacement } from '../../src/master/placement.ts'
import { openService, type Service } from '../../src/service.ts'
import { eachLimited } from '../../src/tenant-manager/context.ts'

/** A tenant with a database, one project in it, and a token of its one member. */
export type BenchTenant = Readonly<{
  tenantId: string
  projectId: string
  token: string
  /** Its database, as its own login role. */
  address: PostgresAddress
}>

/** What a node of Freehold needs to start, as JSON. */
export type BenchGrounds = Readonly<{
  master: PostgresAddress
  provisioner: PostgresAddress
  masterKey: string
}>

/** A PostgreSQL of its own, full of tenants. */
export type World = Readonly<{
  postgres: EmbeddedPostgres
  grounds: BenchGrounds
  tenants: readonly BenchTenant[]
  close(): Promise<void>
}>

/** Issuer of the tokens; the nodes of a benchmark must be given the same. */
export const publicUrl = 'http://localhost:4000'
/**
 * A plain pool of 10 must fit into one tenant's role, or the server refuses what it opens beyond: the product's own
 * default of 8 made the ceiling fail 2 to 6 requests in a hundred.
 */
const connectionsPerRole = 100
const peopleAtOnce = 8

/** Sessions outlast any benchmark, and so do their tokens. */
const tokenSeconds = 86_400

const makeTenant = async (service: Service, tokens: AccessTokens, n: number): Promise<BenchTenant> => {
  const { master, box, manager, router } = service
  const personId = newId()
  const { tenantId, sessionId } = await master.db.transaction().execute(async (trx) => {
    const person = {
      id: personId,
      email: `member-${n}@example.com`,
      first_name: 'Member',
      last_name: String(n),
    }
    await trx.insertInto('people').values(person).execute()
    const wanted = { name: `Tenant ${n}`, slug: `tenant-${n}`, plan: 'free', tier: 'shared' } as const
    const by = { actor: { kind: 'system', id: null } } as const
    const tenant = await manager.createTenant(trx, { ...wanted, firstAdmin: personId, by })
    if (tenant.status !== 'active') throw new Error('there was no spare for a tenant')
    const client = { address: null, userAgent: null }
    const session = await startSession(trx, box, { id: personId, tenantId: tenant.id, ...client })
    return { tenantId: tenant.id, sessionId: session.sessionId }
  })
  const project = { id: newId(), name: `Bridge ${n}`, description: 'Over the river', created_by: personId }
  await router.use(tenantId, (db) => db.insertInto('projects').values(project).execute())
  const placement = await findPlacement(master, box)(tenantId)
  if (placement === undefined || !('address' in placement)) throw new Error('a new tenant has no address')
  const token = tokens.issue({ personId, sessionId, tenantId })
  return { tenantId, projectId: project.id, token, address: placement.address }
}

const fill = async (postgres: EmbeddedPostgres, masterKey: Buffer, count: number): Promise<BenchTenant[]> => {
  const { master, provisioner } = postgres
  const env = { PUBLIC_URL: publicUrl, TENANT_MAX_CONNECTIONS: String(connectionsPerRole), ROLE: 'api' }
  const config = { ...loadConfig(env), spareDatabases: count }
  const grounds = { master, provisioner, masterKey: async () => masterKey, alone: true }
  const service = await openService(config, grounds, createLogger('warn'))
  // Only signs; nobody ever asks it anything.
  const signer = Fastify() as unknown as App
  try {
    await service.manager.refillSpares()
    const options = { keys: service.keys, issuer: publicUrl, seconds: tokenSeconds, clock: systemClock }
    const tokens = await registerAccessTokens(signer, options)
    const tenants: BenchTenant[] = []
    const numbers = Array.from({ length: count }, (_, n) => n)
    await eachLimited(numbers, peopleAtOnce, async (n) => {
      tenants[n] = await makeTenant(service, tokens, n)
    })
    return tenants
  } finally {
    await signer.close()
    await service.close()
  }
}

/** PostgreSQL outlives this process, so it must be stopped before. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Starts PostgreSQL in a folder that is gone after `close`, without fsync (nothing that is measured here writes), and makes
 * the tenants. `maxConnections` is the server's own limit.
 */
export const openWorld = async (options: { tenants: number; maxConnections: number }): Promise<World> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'bench-')))
  // Started by root, the server runs as a user who must be able to walk to its data.
  await chmod(folder, 0o711)
  const { maxConnections } = options
  const starting = startEmbeddedPostgres({ dataDir: join(folder, 'data'), durable: false, maxConnections })
  const close = async (): Promise<void> => {
    for (const signal of endings) process.off(signal, end)
    await starting.then((postgres) => postgres.stop()).catch(() => {})
    await rm(folder, { recursive: true, force: true })
  }
  const end = (): void => void close().finally(() => process.exit(1))
  for (const signal of endings) process.on(signal, end)
  try {
    const postgres = await starting
    const masterKey = Buffer.alloc(32, 1)
    const tenants = await fill(postgres, masterKey, options.tenants)
    // Gigabytes that are not on the disk yet; the system would write them half a minute later, in the middle of what is measured.
    await promisify(execFile)('sync').catch(() => {})
    const { master, provisioner } = postgres
    const grounds = { master, provisioner, masterKey: masterKey.toString('base64') }
    return { postgres, grounds, tenants, close }
  } catch (error) {
    await close()
    throw error
  }
}
