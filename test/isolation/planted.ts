import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PlantedAnswer, PlantedOrder } from './planted-process.ts'

const program = fileURLToPath(new URL('./planted-process.ts', import.meta.url))

/** Runs the fuzz with a bug in the source, in a process of its own. Throws when that process dies without an answer. */
export const fuzzPlanted = async (order: PlantedOrder): Promise<PlantedAnswer> => {
  const child = fork(program, { stdio: 'inherit' })
  const ended = once(child, 'exit')
  child.send(order)
  const message = once(child, 'message').then(([answer]) => answer as PlantedAnswer)
  const answer = await Promise.race([message, ended.then(() => undefined)])
  const [code] = await ended
  if (answer === undefined) throw new Error(`the planted nodes died: ${code}`)
  return answer
}
