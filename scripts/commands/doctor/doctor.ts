import type { Command } from 'commander'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import { isHealthy, printReport } from './report.ts'

type Options = { json?: boolean; fix?: boolean }

export const addDoctor = (parent: Command): void => {
  verb(parent, 'doctor', 'Look for anything wrong with the installation; exit 1 if there is.')
    .option('--fix', 'repair what can be repaired without risk to data')
    .action(async (_: Options, command: Command) => {
      const { json = false, fix: wantsFix = false } = command.optsWithGlobals<Options>()
      const { consult } = await import('./consult.ts')
      const report = await consult(wantsFix, createProgress(json))
      printReport(report, json)
      if (!isHealthy(report)) process.exitCode = 1
    })
}
