/** Very many clients of one tenant in a process of their own, for noisy-neighbour.ts. */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './ask.ts'

export type CrowdOrder = Readonly<{ url: string; token: string; clients: number; rampMs: number }>

/** How often the tenant was answered what; those who left without an answer do not count. */
export type CrowdResult = Readonly<Record<string, number>>

/** Each of them comes some time within `rampMs`, asks, waits as long as it is told to, give or take half, and asks again. */
const crowd = (order: CrowdOrder, signal: AbortSignal) => {
  const answers: Record<string, number> = {}
  const agent = new Agent({ keepAlive: true, maxSockets: order.clients })
  const client = async (): Promise<void> => {
    await sleep(Math.random() * order.rampMs)
    while (!signal.aborted) {
      const { status, retryAfter } = await ask({ ...order, agent, signal })
      answers[status] = (answers[status] ?? 0) + 1
      await sleep(retryAfter * (0.5 + Math.random()) * 1_000)
    }
  }
  const all = Array.from({ length: order.clients }, () => client().catch(() => {}))
  return Promise.all(all).then(() => {
    agent.destroy()
    return answers
  })
}

process.on('message', (order: CrowdOrder) => {
  const leave = new AbortController()
  process.once('SIGUSR2', () => leave.abort())
  void crowd(order, leave.signal).then((answers) => process.send?.(answers))
})
process.on('disconnect', () => process.exit(0))
