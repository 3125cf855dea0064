import type { Command } from 'commander'
import { print, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'

export const addKeysRotate = (parent: Command): void => {
  verb(
    parent,
    'rotate',
    'Make a new signing key; it signs in ten minutes, and no token is refused for it.',
  ).action(async (_: unknown, command: Command) => {
    const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
    const { withInstallation } = await import('../../installation.ts')
    const { rotateSigningKey } = await import('../../../src/access/signing-keys.ts')
    const kid = await withInstallation(createProgress(json), ({ master, box }) =>
      rotateSigningKey(master.db, box),
    )
    if (json) printJson({ kid })
    else print(`The new key ${kid} is published now and signs in ten minutes.`)
  })
}
