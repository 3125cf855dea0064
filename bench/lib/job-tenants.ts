import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openService, type Service } from '../../src/service.ts'
import { testMasterKey } from '../../test/helpers/tenant-manager.ts'
import { effectsTable, type WorkerOrder } from '../../test/tenant/jobs/counting.ts'

/** A PostgreSQL of its own without fsync. */
const startJobServer = async (): Promise<{ postgres: EmbeddedPostgres; close(): Promise<void> }> => {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'bench-freehold-')))
  // Started by root, the server runs as a user who must be able to walk to its data.
  await chmod(dataDir, 0o711)
  const postgres = await startEmbeddedPostgres({ dataDir: join(dataDir, 'data'), durable: false })
  return {
    postgres,
    close: async () => {
      await postgres.stop()
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Does `work` on a new server with a service that makes tenants and puts jobs in, and closes both however it ends. */
export const onJobServer = async (
  work: (world: { service: Service; postgres: EmbeddedPostgres; order: WorkerOrder }) => Promise<void>,
): Promise<void> => {
  const { postgres, close } = await startJobServer()
  try {
    const { master, provisioner } = postgres
    const config = loadConfig({ SPARE_DATABASES: '0', RATE_LIMITS: 'off' })
    const grounds = { master, provisioner, masterKey: async () => testMasterKey }
    const service = await openService(config, grounds, createLogger('error'))
    try {
      await work({ service, postgres, order: { master, provisioner } })
    } finally {
      await service.close()
    }
  } finally {
    await close()
  }
}

const giveEffects = async (superuser: PostgresAddress, database: string): Promise<void> => {
  const client = new pg.Client(clientOptions({ ...superuser, database }))
  await client.connect()
  await client.query(effectsTable)
  await client.end()
}

/** Tenants whose databases have a table for the effects of jobs. */
export const makeJobTenants = async (
  { master, manager }: Service,
  superuser: PostgresAddress,
  count: number,
): Promise<string[]> => {
  const personId = newId()
  const person = { id: personId, email: `${personId}@example.com`, first_name: 'Bench' }
  await master.db.insertInto('people').values(person).execute()
  const { id: clusterId } = await master.db.selectFrom('clusters').select('id').executeTakeFirstOrThrow()
  const ids: string[] = []
  for (let n = 0; n < count; n += 1) {
    const { name } = await manager.buildDatabase(clusterId)
    await giveEffects(superuser, name)
    const { id } = await manager.createTenant(master.db, {
      ...{ name: `Tenant ${n}`, plan: 'free', tier: 'shared', firstAdmin: personId },
      by: { actor: { kind: 'person', id: personId } },
    })
    ids.push(id)
  }
  return ids
}
