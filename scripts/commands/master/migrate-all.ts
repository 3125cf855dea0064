import { openMaster } from '../../../src/master/master.ts'
import { isMasterMigrated, migrateMaster } from '../../../src/master/migrate-master.ts'
import { migrateQueue } from '../../../src/queue/migrate-queue.ts'
import { probeServer } from '../../../src/tenant-manager/probe-server.ts'
import type { Grounds } from '../../grounds.ts'

/** Brings the master and its job queue to this release; returns the names of the master's migrations applied now. */
export const migrateAll = async ({ master, provisioner, log }: Grounds): Promise<string[]> => {
  await probeServer(provisioner)
  const applied = await migrateMaster(master)
  const opened = openMaster(master, log)
  try {
    await migrateQueue(opened.pool)
    if (!(await isMasterMigrated(opened.db))) throw new Error('the master is still behind this release')
  } finally {
    await opened.close()
  }
  return applied
}
