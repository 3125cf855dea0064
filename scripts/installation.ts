import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { dataFolderOf } from '../src/embedded-postgres/data-folder.ts'
import { lostMasterKey, makeMasterKey, readMasterKeys } from '../src/embedded-postgres/master-key.ts'
import { type Config, configuredKeys } from '../src/kernel/config.ts'
import type { KeyRing, SecretBox } from '../src/kernel/crypto.ts'
import type { Logger } from '../src/kernel/log.ts'
import { isInstalled } from '../src/master/installation.ts'
import type { Master, MasterDb } from '../src/master/master.ts'
import { type MasterKeys, openUpToDateMaster } from '../src/open-master.ts'
import { probeServer } from '../src/tenant-manager/probe-server.ts'
import { createTenantManager, type TenantManager } from '../src/tenant-manager/tenant-manager.ts'
import { type Grounds, readConfig, withGrounds } from './grounds.ts'
import type { Progress } from './progress.ts'

/** What a command works on: the same that a running service has, without HTTP and worker. */
export type Installation = Readonly<{
  config: Config
  log: Logger
  master: Master
  box: KeyRing
  manager: TenantManager
}>

/** Milliseconds that a first start in another process needs at most from its server to its master key. */
const keyPatience = 5_000

/** The master keys as configured or kept in the data folder; undefined when they are nowhere. */
export const findMasterKeys = async (config: Config): Promise<MasterKeys | undefined> =>
  configuredKeys(config) ?? (isNew(config) ? undefined : readMasterKeys(config.dataDir))

const requireMasterKey = async ({ config, startedHere }: Grounds, db: MasterDb): Promise<MasterKeys> => {
  for (const deadline = Date.now() + keyPatience; ; await sleep(50)) {
    const key = await findMasterKeys(config)
    if (key !== undefined) return key
    if (startedHere && !(await isInstalled(db))) return makeMasterKey(config.dataDir)
    if (startedHere || Date.now() > deadline) throw lostMasterKey(config.dataDir)
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
    auditArchiveDays: config.auditArchiveDays,
  })

/** Brings the installation up to date, as a start of the service does, and runs `work` on it. */
export const onInstallation = async <T>(
  grounds: Grounds,
  work: (installation: Installation) => Promise<T>,
): Promise<T> => {
  await probeServer(grounds.provisioner)
  const key = (db: MasterDb) => requireMasterKey(grounds, db)
  const { master, box, installationId } = await openUpToDateMaster(grounds.master, key, grounds.log)
  try {
    const manager = openManager(grounds, master, box, installationId)
    try {
      await manager.prepareDefaultCluster(grounds.provisioner)
      return await work({ config: grounds.config, log: grounds.log, master, box, manager })
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
