import type { Command } from 'commander'
import { print, printJson } from '../../output.ts'
import { verb } from '../../program.ts'

export const addMasterMigrate = (parent: Command): void => {
  verb(parent, 'migrate', 'Bring the master database to the schema of this release.').action(
    async (_: unknown, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
      const { readConfig, withGrounds } = await import('../../grounds.ts')
      const { migrateAll } = await import('./migrate-all.ts')
      const applied = await withGrounds(readConfig(), migrateAll)
      if (json) printJson({ applied })
      else print(applied.length === 0 ? 'The master database is up to date.' : applied.join('\n'))
    },
  )
}
