import { adoptNextMasterKey, makeNextMasterKey } from '../../../src/embedded-postgres/master-key.ts'
import { masterKeyId } from '../../../src/kernel/crypto.ts'
import { OperatorError } from '../../../src/kernel/errors.ts'
import { type Rotation, rotateMasterKey } from '../../../src/master/rotate-master-key.ts'
import { LiveLocks } from '../../../src/tenant-manager/live-locks.ts'
import type { Installation } from '../../installation.ts'

type Say = (text: string) => void

/** With MASTER_KEY set: to that, from the previous one. */
const rotateConfigured = async (
  { config, master, box }: Installation,
  masterKey: Buffer,
  say: Say,
): Promise<Rotation> => {
  const rotation = await rotateMasterKey({ db: master.db, box, to: masterKeyId(masterKey), say })
  const wasDone = rotation.from === undefined && rotation.resealed === 0
  if (wasDone && config.previousMasterKey === undefined) {
    throw new OperatorError(
      'there is no new key to rotate to; set MASTER_KEY to one (openssl rand -base64 32) and MASTER_KEY_PREVIOUS to the present one on every node, see docs/rotate-keys.md',
    )
  }
  return rotation
}

/** Without: to a new key in a file beside the present one, whose place it takes at the end. Both are read until then. */
const rotateKept = async ({ config, master, box }: Installation, say: Say): Promise<Rotation> => {
  const next = await makeNextMasterKey(config.dataDir)
  box.learn([next])
  const rotation = await rotateMasterKey({ db: master.db, box, to: masterKeyId(next), say })
  await adoptNextMasterKey(config.dataDir)
  return rotation
}

/** Rotates the master key of this installation; killed at any point, the next call goes on. */
export const rotateInstallationKey = async (installation: Installation, say: Say): Promise<Rotation> => {
  const { config, master, log } = installation
  const locks = new LiveLocks(master, log)
  try {
    if ((await locks.tryHold('rotation of the master key')) === undefined) {
      throw new OperatorError('another rotation of the master key is under way; wait for its end')
    }
    return config.masterKey === undefined
      ? await rotateKept(installation, say)
      : await rotateConfigured(installation, config.masterKey, say)
  } finally {
    await locks.close()
  }
}
