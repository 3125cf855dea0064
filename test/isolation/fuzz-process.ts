import type { FuzzReport } from './fuzz.ts'
import type { Finding } from './fuzz-run.ts'
import { plants, sow } from './plants.ts'
import type { FuzzWorld } from './world.ts'

/** What the process is told at its start; `plant` names the bug to put into its source. */
export type FuzzOrder = Readonly<{ world: FuzzWorld; seed: number; requests: number; plant?: string }>

/** What it answers: with a bug the first leak or that there was none, else the report of the whole run. */
export type FuzzAnswer =
  | Readonly<{ kind: 'planted'; finding: Finding | undefined; done: number }>
  | Readonly<{ kind: 'report'; report: FuzzReport }>

const answer = (message: FuzzAnswer): void => {
  // What else goes on in a broken node, and how it would end, is of no interest.
  process.send?.(message, () => process.exit(0))
}

/** Data from the wrong place; broken nodes make other mistakes too. */
const isLeak = /^the canary of|^another row|^a canary in/

const runPlanted = async (name: string, { world, seed, requests }: FuzzOrder): Promise<void> => {
  const plant = plants.find((one) => one.name === name)
  if (plant === undefined) throw new RangeError(`no such plant: ${name}`)
  sow(plant)
  // Only now: everything that this imports is read with the bug in it.
  const { fuzz } = await import('./fuzz.ts')
  const onFinding = (finding: Finding): void => {
    if (isLeak.test(finding.what)) answer({ kind: 'planted', finding, done: finding.at })
  }
  const mostFindings = Number.POSITIVE_INFINITY
  const { done } = await fuzz(world, { seed, requests, onFinding, mostFindings })
  answer({ kind: 'planted', finding: undefined, done })
}

const run = async (order: FuzzOrder): Promise<void> => {
  if (order.plant !== undefined) return runPlanted(order.plant, order)
  const { fuzz } = await import('./fuzz.ts')
  answer({ kind: 'report', report: await fuzz(order.world, order) })
}

process.once('message', (order: FuzzOrder) => void run(order))
