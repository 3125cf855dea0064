import type { Command } from 'commander'
import { AppError } from '../../../src/kernel/errors.ts'
import { isUuid } from '../../../src/kernel/ids.ts'
import { line } from '../../arguments.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'

export const addAuditArchive = (parent: Command): void => {
  verb(parent, 'archive', 'Print the kept audit log of an erased tenant as NDJSON.')
    .argument('<tenantId>', 'its id, as in GET /platform/erasures', line(63))
    .action(async (tenantId: string) => {
      const { withInstallation } = await import('../../installation.ts')
      const { findArchive, readArchive } = await import('../../../src/master/audit-archives.ts')
      await withInstallation(createProgress(true), async ({ master, box }) => {
        if (!isUuid(tenantId) || (await findArchive(master.db, tenantId)) === undefined) {
          throw new AppError('not_found', `no audit log is kept of a tenant ${tenantId}`)
        }
        for await (const text of readArchive(master.db, box, tenantId)) process.stdout.write(text)
      })
    })
}
