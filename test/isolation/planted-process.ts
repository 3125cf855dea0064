import type { FuzzReport } from './fuzz.ts'
import type { Finding } from './fuzz-run.ts'
import { plants, sow } from './plants.ts'
import type { FuzzWorld } from './world.ts'

/** What the process is told at its start. */
export type PlantedOrder = Readonly<{ world: FuzzWorld; plant: string; seed: number; requests: number }>

/** What it answers: the first leak, or that there was none. */
export type PlantedAnswer = Readonly<{ finding: Finding | undefined; done: number }>

const answer = (message: PlantedAnswer): void => {
  // What else goes on in a broken node, and how it would end, is of no interest.
  process.send?.(message, () => process.exit(0))
}

/** Data from the wrong place; broken nodes make other mistakes too. */
const isLeak = /^the canary of|^another row|^a canary in/

/** A process of its own with nodes that have one bug. */
const run = async ({ world, plant: name, seed, requests }: PlantedOrder): Promise<void> => {
  const plant = plants.find((one) => one.name === name)
  if (plant === undefined) throw new RangeError(`no such plant: ${name}`)
  sow(plant)
  // Only now: everything that this imports is read with the bug in it.
  const { fuzz } = await import('./fuzz.ts')
  const onFinding = (finding: Finding): void => {
    if (isLeak.test(finding.what)) answer({ finding, done: finding.at })
  }
  const mostFindings = Number.POSITIVE_INFINITY
  const { done }: FuzzReport = await fuzz(world, { seed, requests, onFinding, mostFindings })
  answer({ finding: undefined, done })
}

process.once('message', (order: PlantedOrder) => void run(order))
