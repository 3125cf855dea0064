import type { Command } from 'commander'
import type { SystemUser } from '../../../src/master/system-users.ts'
import { type Column, print, printJson, printTable } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import { toSystemUserJson } from './system-user-view.ts'

const columns: readonly Column<SystemUser>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'NAME', value: ({ first_name }) => first_name },
  { title: 'EMAIL', value: ({ email }) => email },
  { title: 'TYPE', value: ({ service_type }) => service_type },
  { title: 'KEPT BY', value: ({ tenant_id }) => tenant_id ?? 'the platform' },
  { title: 'SECRETS', value: ({ secrets }) => String(secrets.length) },
  { title: 'LAST USED', value: ({ last_used_at }) => last_used_at?.toISOString() ?? '-' },
]

/** There are few, so they come at once. */
const most = 10_000

export const addSystemUserList = (parent: Command): void => {
  verb(parent, 'list', 'List the system users, newest first.').action(
    async (_: unknown, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
      const { withInstallation } = await import('../../installation.ts')
      const { listSystemUsers } = await import('../../../src/master/system-users.ts')
      const rows = await withInstallation(createProgress(json), ({ master }) =>
        listSystemUsers(master.db, { limit: most, after: undefined }),
      )
      if (json) printJson({ data: rows.map(toSystemUserJson), nextCursor: null })
      else if (rows.length > 0) printTable(columns, rows)
      else print('No system users yet. Create one: freehold system-user create --help')
    },
  )
}
