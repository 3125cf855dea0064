import { Logger, makeWorkerUtils } from 'graphile-worker'
import type { QueuePool } from './run-tasks.ts'

/** What goes wrong is thrown; what goes well is nobody's news. */
const silent = new Logger(() => () => {})

/**
 * Brings the schema `graphile_worker` to the version of the installed library. Needs only CREATE on the database, which
 * its owner has. Safe from many nodes at once and again after a crash.
 */
export const migrateQueue = async (pool: QueuePool): Promise<void> => {
  const utils = await makeWorkerUtils({ pgPool: pool, logger: silent })
  try {
    await utils.migrate()
  } finally {
    await utils.release()
  }
}
