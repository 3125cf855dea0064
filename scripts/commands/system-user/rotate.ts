import type { Command } from 'commander'
import { line, wholeNumber } from '../../arguments.ts'
import { printFields, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import { toSecretFields, toSystemUserJson } from './system-user-view.ts'

type Options = { json?: boolean; graceDays: number }

export const addSystemUserRotate = (parent: Command): void => {
  verb(parent, 'rotate', 'Give a system user a new secret. It is printed now and never again.')
    .argument('<system-user>', 'its id or email', line(254))
    .option('--grace-days <days>', 'so long the old secrets work too; 0 ends them now', wholeNumber(0, 90), 7)
    .action(async (which: string, _: Options, command: Command) => {
      const { json = false, graceDays } = command.optsWithGlobals<Options>()
      const { withInstallation } = await import('../../installation.ts')
      const { rotateSecretOf } = await import('./create-system-user.ts')
      const { row, clientSecret } = await withInstallation(createProgress(json), ({ master }) =>
        rotateSecretOf(master.db, which.toLowerCase(), graceDays),
      )
      if (json) printJson({ ...toSystemUserJson(row), clientSecret })
      else printFields(toSecretFields(row, clientSecret))
    })
}
