import { type Command, Option } from 'commander'
import { email, line, slug } from '../../arguments.ts'
import { printFields, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import type { TenantWishes } from './create-tenant.ts'
import { toTenantFields, toTenantJson } from './tenant-view.ts'

type Options = Omit<TenantWishes, 'slug' | 'wait'> & { wait?: boolean; json?: boolean }

export const addTenantCreate = (parent: Command): void => {
  verb(parent, 'create', 'Create a tenant with a database of its own.')
    .argument('<slug>', 'its short name in addresses: lowercase letters, digits and hyphens', slug)
    .requiredOption('--name <name>', 'its name as people read it', line(200))
    .requiredOption('--admin-email <email>', 'the person with an account who becomes its Admin', email)
    .option('--plan <plan>', 'its plan, with the trial it begins with (default: free)', line(63))
    .option('--region <region>', 'where its database shall be (default: wherever there is room)', line(63))
    .option('--cluster <name>', 'the server its database shall be on (default: any that has room)', line(63))
    .addOption(
      new Option('--tier <tier>', 'how much of a server is its own')
        .choices(['shared', 'dedicated', 'external'])
        .default('shared'),
    )
    .option('--wait', 'stay until its database is ready (the default)')
    .option('--no-wait', 'leave the database to a running worker when no spare is free')
    .action(async (wanted: string, _: Options, command: Command) => {
      const { json = false, wait = true, ...options } = command.optsWithGlobals<Options>()
      const { withInstallation } = await import('../../installation.ts')
      const { createTenant } = await import('./create-tenant.ts')
      const progress = createProgress(json)
      const tenant = await withInstallation(progress, (installation) =>
        createTenant(installation, { ...options, wait, slug: wanted }, progress),
      )
      if (json) printJson(toTenantJson(tenant))
      else printFields([...toTenantFields(tenant), ['admin', options.adminEmail]])
    })
}
