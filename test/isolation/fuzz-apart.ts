import { once } from 'node:events'
import { forkApart } from '../helpers/apart.ts'
import type { FuzzReport } from './fuzz.ts'
import type { FuzzAnswer, FuzzOrder } from './fuzz-process.ts'

/** Runs the fuzz in a process of its own. Throws when that process dies without an answer. */
const runApart = async (order: FuzzOrder): Promise<FuzzAnswer> => {
  const child = forkApart(new URL('./fuzz-process.ts', import.meta.url))
  const ended = once(child, 'exit')
  child.send(order)
  const message = once(child, 'message').then(([answer]) => answer as FuzzAnswer)
  const answer = await Promise.race([message, ended.then(() => undefined)])
  const [code] = await ended
  if (answer === undefined) throw new Error(`the nodes died: ${code}`)
  return answer
}

/** The fuzz of the source as it is. Apart from tap, whose watch over every promise takes a fifth of the time. */
export const fuzzApart = async (order: Omit<FuzzOrder, 'plant'>): Promise<FuzzReport> => {
  const answer = await runApart(order)
  if (answer.kind !== 'report') throw new TypeError('no report')
  return answer.report
}

/** The fuzz with a bug in the source, until it shows. */
export const fuzzPlanted = async (order: FuzzOrder & { plant: string }) => {
  const answer = await runApart(order)
  if (answer.kind !== 'planted') throw new TypeError('no plant')
  return answer
}
