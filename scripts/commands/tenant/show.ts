import type { Command } from 'commander'
import { AppError } from '../../../src/kernel/errors.ts'
import type { MasterDb } from '../../../src/master/master.ts'
import { line } from '../../arguments.ts'
import { printFields, printJson } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import { toTenantFields, toTenantJson } from './tenant-view.ts'

const readTenant = async (db: MasterDb, idOrSlug: string) => {
  const { findTenant } = await import('../../../src/master/tenants.ts')
  const tenant = await findTenant(db, idOrSlug)
  if (tenant === undefined) {
    throw new AppError('not_found', `there is no tenant ${idOrSlug}; freehold tenant list shows all`)
  }
  const { members } = await db
    .selectFrom('memberships')
    .select(({ fn }) => fn.countAll<string>().as('members'))
    .where('tenant_id', '=', tenant.id)
    .where('status', '=', 'active')
    .executeTakeFirstOrThrow()
  return { tenant, members: Number(members) }
}

export const addTenantShow = (parent: Command): void => {
  verb(parent, 'show', 'Show one tenant, its database and where that is.')
    .argument('<tenant>', 'its slug or id', line(63))
    .action(async (wanted: string, _: unknown, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
      const { withInstallation } = await import('../../installation.ts')
      const { tenant, members } = await withInstallation(createProgress(json), ({ master }) =>
        readTenant(master.db, wanted),
      )
      if (json) printJson({ ...toTenantJson(tenant), members })
      else printFields([...toTenantFields(tenant), ['members', String(members)]])
    })
}
