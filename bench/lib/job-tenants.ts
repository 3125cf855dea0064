import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { newId } from '../../src/kernel/ids.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import type { Service } from '../../src/service.ts'
import { effectsTable } from '../../test/tenant/jobs/counting.ts'

/** A PostgreSQL of its own without fsync. */
export const startJobServer = async (): Promise<{ postgres: EmbeddedPostgres; close(): Promise<void> }> => {
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
