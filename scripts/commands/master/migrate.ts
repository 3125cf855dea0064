import type { Command } from 'commander'
import { openMaster } from '../../../src/master/master.ts'
import { isMasterMigrated, migrateMaster } from '../../../src/master/migrate-master.ts'
import { migrateQueue } from '../../../src/queue/migrate-queue.ts'
import { probeServer } from '../../../src/tenant-manager/probe-server.ts'
import { type Grounds, readConfig, withGrounds } from '../../grounds.ts'
import { print, printJson } from '../../output.ts'
import { verb } from '../../program.ts'

/** Brings the master and its job queue to this release; returns the names of the master's migrations applied now. */
const migrate = async ({ master, provisioner, log }: Grounds): Promise<string[]> => {
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

export const addMasterMigrate = (parent: Command): void => {
  verb(parent, 'migrate', 'Bring the master database to the schema of this release.').action(
    async (_: unknown, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
      const applied = await withGrounds(readConfig(), migrate)
      if (json) printJson({ applied })
      else print(applied.length === 0 ? 'The master database is up to date.' : applied.join('\n'))
    },
  )
}
