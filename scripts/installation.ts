import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { syncSystemRoles } from '../src/access/system-roles.ts'
import { dataFolderOf } from '../src/embedded-postgres/data-folder.ts'
import { provideMasterKey } from '../src/embedded-postgres/master-key.ts'
import type { Config } from '../src/kernel/config.ts'
import { createSecretBox, type SecretBox } from '../src/kernel/crypto.ts'
import { OperatorError } from '../src/kernel/errors.ts'
import { openInstallation } from '../src/master/installation.ts'
import { type Master, type MasterDb, openMaster } from '../src/master/master.ts'
import { migrateMaster } from '../src/master/migrate-master.ts'
import { migrateQueue } from '../src/queue/migrate-queue.ts'
import { probeServer } from '../src/tenant-manager/probe-server.ts'
import { createTenantManager, type TenantManager } from '../src/tenant-manager/tenant-manager.ts'
import { type Grounds, readConfig, withGrounds } from './grounds.ts'
import type { Progress } from './progress.ts'

/** What a command works on: the same that a running service has, without HTTP and worker. */
export type Installation = Readonly<{ config: Config; master: Master; manager: TenantManager }>

/** Milliseconds that a first start in another process needs at most from its server to its master key. */
const keyPatience = 5_000

/**
 * The master key as configured or kept in the data folder; undefined when it is nowhere. `make` makes one: only right
 * before the installation itself is made, because another key opens nothing of what is there.
 */
export const findMasterKey = async (config: Config, make: boolean): Promise<Buffer | undefined> => {
  if (config.masterKey !== undefined) return config.masterKey
  return make || existsSync(join(config.dataDir, 'master.key')) ? provideMasterKey(config.dataDir) : undefined
}

/** True when the installation was made, by an earlier start or command. */
export const isInstalled = async (db: MasterDb): Promise<boolean> =>
  (await db.selectFrom('installation').select('id').executeTakeFirst()) !== undefined

const requireMasterKey = async ({ config, startedHere }: Grounds, db: MasterDb): Promise<Buffer> => {
  const make = startedHere && !(await isInstalled(db))
  for (const deadline = Date.now() + keyPatience; ; await sleep(50)) {
    const key = await findMasterKey(config, make)
    if (key !== undefined) return key
    if (startedHere || Date.now() > deadline) {
      throw new OperatorError(
        `the master key is not in ${config.dataDir}; restore master.key from a backup, or set MASTER_KEY`,
      )
    }
  }
}

export const openManager = (
  { config, log }: Grounds,
  master: Master,
  box: SecretBox,
  installationId: string,
): TenantManager =>
  createTenantManager({
    master,
    box,
    installationId,
    log,
    spareDatabases: config.spareDatabases,
    tenantMaxConnections: config.tenantMaxConnections,
  })

/** Brings the installation up to date, as a start of the service does, and runs `work` on it. */
export const onInstallation = async <T>(
  grounds: Grounds,
  work: (installation: Installation) => Promise<T>,
): Promise<T> => {
  await probeServer(grounds.provisioner)
  await migrateMaster(grounds.master)
  const master = openMaster(grounds.master, grounds.log)
  try {
    const box = createSecretBox(await requireMasterKey(grounds, master.db))
    const installationId = await openInstallation(master.db, box)
    await migrateQueue(master.pool)
    await syncSystemRoles(master.db)
    const manager = openManager(grounds, master, box, installationId)
    try {
      await manager.prepareDefaultCluster(grounds.provisioner)
      return await work({ config: grounds.config, master, manager })
    } finally {
      await manager.close()
    }
  } finally {
    await master.close()
  }
}

/** True when no Freehold was ever started on this data folder. */
export const isNew = (config: Config): boolean =>
  config.external === undefined && !existsSync(dataFolderOf(config.dataDir))

/** Opens this installation for `work`, beside a running service or without one, and closes it again. */
export const withInstallation = async <T>(
  progress: Progress,
  work: (installation: Installation) => Promise<T>,
): Promise<T> => {
  const config = readConfig()
  if (isNew(config)) progress.step(`making a database server in ${config.dataDir}, once`)
  try {
    return await withGrounds(config, (grounds) => onInstallation(grounds, work))
  } finally {
    progress.end()
  }
}
