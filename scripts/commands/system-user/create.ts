import type { Command } from 'commander'
import { email, line } from '../../arguments.ts'
import { printFields, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import type { SystemUserWishes } from './create-system-user.ts'
import { toSecretFields, toSystemUserJson } from './system-user-view.ts'

type Options = SystemUserWishes & { json?: boolean }

export const addSystemUserCreate = (parent: Command): void => {
  verb(parent, 'create', 'Create a system user. Its secret is printed now and never again.')
    .requiredOption('--name <name>', 'its name as people read it', line(100))
    .requiredOption('--email <email>', 'an address for it, which no account has', email)
    .requiredOption('--service-type <type>', 'what kind of program it is, such as billing', line(63))
    .option('--tenant <tenant>', 'let it into this tenant (id or slug), with --role', line(63))
    .option('--role <role>', "the name or id of one of the tenant's roles", line(100))
    .action(async (_: Options, command: Command) => {
      const { json = false, ...wishes } = command.optsWithGlobals<Options>()
      if ((wishes.tenant === undefined) !== (wishes.role === undefined)) {
        command.error('error: give --tenant and --role, or neither')
      }
      const { withInstallation } = await import('../../installation.ts')
      const { createSystemUserFor } = await import('./create-system-user.ts')
      const { row, clientSecret } = await withInstallation(createProgress(json), ({ master }) =>
        createSystemUserFor(master.db, wishes),
      )
      if (json) printJson({ ...toSystemUserJson(row), clientSecret })
      else printFields(toSecretFields(row, clientSecret))
    })
}
