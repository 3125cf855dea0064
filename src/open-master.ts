import { syncSystemRoles } from './access/system-roles.ts'
import { createSecretBox, type SecretBox } from './kernel/crypto.ts'
import type { Logger } from './kernel/log.ts'
import type { PostgresAddress } from './kernel/postgres-address.ts'
import { openInstallation } from './master/installation.ts'
import { type Master, type MasterDb, openMaster } from './master/master.ts'
import { migrateMaster } from './master/migrate-master.ts'
import { migrateQueue } from './queue/migrate-queue.ts'

export type OpenedMaster = Readonly<{ master: Master; box: SecretBox; installationId: string }>

/**
 * Brings the master up to date and opens it: schema, key, installation, queue, system roles. `masterKey` is asked once
 * the schema is there, so that it can tell a new installation from one whose key is lost. Close `master` at the end.
 */
export const openUpToDateMaster = async (
  address: PostgresAddress,
  masterKey: (db: MasterDb) => Promise<Buffer>,
  log: Logger,
): Promise<OpenedMaster> => {
  const applied = await migrateMaster(address)
  if (applied.length > 0) log.info({ applied }, 'the master database was migrated')
  const master = openMaster(address, log)
  try {
    const box = createSecretBox(await masterKey(master.db))
    const installationId = await openInstallation(master.db, box)
    await migrateQueue(master.pool)
    await syncSystemRoles(master.db)
    return { master, box, installationId }
  } catch (error) {
    await master.close()
    throw error
  }
}
