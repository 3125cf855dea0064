import { type Command, Option } from 'commander'
import { plural, print, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'

type Options = { json?: boolean; masterKey?: boolean; revokeOld?: boolean }

const rotateSigning = async (json: boolean, revokeOld: boolean): Promise<void> => {
  const { withInstallation } = await import('../../installation.ts')
  const { replaceSigningKeys, rotateSigningKey } = await import('../../../src/access/signing-keys.ts')
  const kid = await withInstallation(createProgress(json), ({ master, box }) =>
    (revokeOld ? replaceSigningKeys : rotateSigningKey)(master.db, box),
  )
  if (json) printJson({ kid })
  else if (revokeOld)
    print(`The new key ${kid} signs now. Access tokens that are out are refused; clients refresh.`)
  else print(`The new key ${kid} is published now and signs in ten minutes.`)
}

const rotateMaster = async (json: boolean): Promise<void> => {
  const { withInstallation } = await import('../../installation.ts')
  const { rotateInstallationKey } = await import('./rotate-master-key.ts')
  const progress = createProgress(json)
  const { keyId, kept, rotation } = await withInstallation(progress, async (installation) => ({
    rotation: await rotateInstallationKey(installation, progress.step),
    keyId: installation.box.keyId,
    kept: installation.config.masterKey === undefined,
  }))
  if (json) return printJson({ keyId, previousKeyId: rotation.from ?? null, resealed: rotation.resealed })
  const done =
    rotation.resealed === 0 ? 'Everything is' : `${plural(rotation.resealed, 'value')} sealed again; all is`
  print(`${done} under the key ${keyId}.`)
  print(kept ? 'It is in master.key now: keep a copy of it.' : 'MASTER_KEY_PREVIOUS may go, from every node.')
}

export const addKeysRotate = (parent: Command): void => {
  verb(parent, 'rotate', 'Make a new signing key; it signs in ten minutes, and no token is refused for it.')
    .option(
      '--revoke-old',
      'the key was seen: sign with the new one at once, refuse every token of the old ones',
    )
    .addOption(
      new Option('--master-key', 'change the master key instead; see docs/rotate-keys.md').conflicts(
        'revokeOld',
      ),
    )
    .action(async (_: Options, command: Command) => {
      const { json = false, masterKey = false, revokeOld = false } = command.optsWithGlobals<Options>()
      await (masterKey ? rotateMaster(json) : rotateSigning(json, revokeOld))
    })
}
