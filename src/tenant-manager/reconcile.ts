import type { Context } from './context.ts'
import { type Finding, findingKey } from './findings.ts'
import { inspect } from './inspect.ts'
import { repairs } from './repairs.ts'

export type RepairReport = {
  /** Found before and gone after. */
  repaired: Finding[]
  /** Still there: not repairable, or its repair failed or was handed to the workers. */
  remaining: Finding[]
}

/**
 * Repairs what is safe to repair and reports the rest. Never destroys a database that a tenant holds, and touches nothing
 * that does not carry this installation's mark. Safe beside running builds and other nodes' passes, and safe to repeat.
 * Long work (provisioning, migrating, refilling) is handed to the workers.
 */
export const repair = async (context: Context): Promise<RepairReport> => {
  const before = await inspect(context)
  if (before.length === 0) return { repaired: [], remaining: [] }
  // Kinds of work for the whole fleet are handed over once, not once per database.
  const todo = new Map(
    before.filter(({ repairable }) => repairable).map((finding) => [repairKey(finding), finding]),
  )
  for (const finding of todo.values()) await repairOne(context, finding)
  const after = await inspect(context)
  const left = new Set(after.map(findingKey))
  return { repaired: before.filter((finding) => !left.has(findingKey(finding))), remaining: after }
}

const repairKey = (finding: Finding): string =>
  finding.kind === 'old_schema' || finding.kind === 'too_few_spares' ? finding.kind : findingKey(finding)

const repairOne = async (context: Context, finding: Finding): Promise<void> => {
  try {
    await repairs[finding.kind]?.(context, finding.target)
  } catch (error) {
    context.log.error({ err: error, finding: finding.kind, subject: finding.subject }, 'a repair failed')
  }
}
