import { syncSystemRoles } from './access/system-roles.ts'
import { createSecretBox, type KeyRing } from './kernel/crypto.ts'
import type { Logger } from './kernel/log.ts'
import type { PostgresAddress } from './kernel/postgres-address.ts'
import { openInstallation } from './master/installation.ts'
import { type Master, type MasterDb, openMaster } from './master/master.ts'
import { migrateMaster } from './master/migrate-master.ts'
import { migrateQueue } from './queue/migrate-queue.ts'

/** The master key, or two while one takes the place of the other: the master says which of them seals. */
export type MasterKeys = Buffer | readonly [Buffer, Buffer]
export type FindMasterKeys = (db: MasterDb) => Promise<MasterKeys>

export const allKeys = (keys: MasterKeys): readonly [Buffer, ...Buffer[]] =>
  keys instanceof Uint8Array ? [keys] : keys

export type OpenedMaster = Readonly<{ master: Master; box: KeyRing; installationId: string }>

/**
 * Brings the master up to date and opens it: schema, key, installation, queue, system roles. `masterKey` is asked once
 * the schema is there, so that it can tell a new installation from one whose key is lost. Close `master` at the end.
 */
export const openUpToDateMaster = async (
  address: PostgresAddress,
  masterKey: FindMasterKeys,
  log: Logger,
): Promise<OpenedMaster> => {
  const applied = await migrateMaster(address)
  if (applied.length > 0) log.info({ applied }, 'the master database was migrated')
  const master = openMaster(address, log)
  try {
    const box = createSecretBox(...allKeys(await masterKey(master.db)))
    const installationId = await openInstallation(master.db, box)
    await migrateQueue(master.pool)
    await syncSystemRoles(master.db)
    return { master, box, installationId }
  } catch (error) {
    await master.close()
    throw error
  }
}
