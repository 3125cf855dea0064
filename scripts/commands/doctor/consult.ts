import { type Grounds, readConfig, withGrounds } from '../../grounds.ts'
import { isNew } from '../../installation.ts'
import type { Progress } from '../../progress.ts'
import { bad, type Check, whatFailed } from './checks.ts'
import { examine } from './examine.ts'
import { fix } from './fix.ts'
import { faultsOf, goneFrom, type Report } from './report.ts'

const reportOf = (checks: Check[]): Report => ({
  checks,
  faults: faultsOf({ checks, findings: [] }),
  repaired: [],
})

const lookAndFix = async (grounds: Grounds, wantsFix: boolean, progress: Progress): Promise<Report> => {
  const before = await examine(grounds)
  const faults = faultsOf(before)
  if (!wantsFix || faults.length === 0) return { checks: before.checks, faults, repaired: [] }
  const failures = await fix(grounds, progress)
  const after = await examine(grounds)
  const checks = [...after.checks, ...failures.map((failure) => bad('repair', failure))]
  const left = faultsOf({ checks, findings: after.findings })
  return { checks, faults: left, repaired: goneFrom(faults, left) }
}

/** Looks at this installation, and repairs it if wanted. Never throws: whatever stops the doctor is the finding. */
export const consult = async (wantsFix: boolean, progress: Progress): Promise<Report> => {
  try {
    const config = readConfig()
    if (isNew(config) && !wantsFix) {
      const nothing = `there is none in ${config.dataDir} yet; npm start makes it`
      return reportOf([bad('installation', nothing, true)])
    }
    return await withGrounds(config, (grounds) => lookAndFix(grounds, wantsFix, progress))
  } catch (error) {
    return reportOf([bad('start', whatFailed(error))])
  } finally {
    progress.end()
  }
}
