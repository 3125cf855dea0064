import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { BenchGrounds, BenchTenant } from './world.ts'

/** What a server under measurement is told when it starts. */
export type Setup = Readonly<{
  grounds: BenchGrounds
  /** Those it will be asked for, in the order of the header `x-tenant`. */
  tenants: readonly BenchTenant[]
  /** Server connections it may have for tenants in all. */
  connections: number
}>

/** Processor time in microseconds and memory in bytes, since the process began and now. */
export type Usage = Readonly<{ user: number; system: number; heap: number; rss: number; counters: unknown }>

export type Question = { ask: 'open'; setup: Setup } | { ask: 'usage' } | { ask: 'memory' } | { ask: 'close' }
export type Reply = { port: number } | { usage: Usage } | { closed: true } | { failed: string }

/** A server as this process runs it. */
export type Served = Readonly<{
  app: Pick<FastifyInstance, 'listen' | 'close'> & { server: { address(): AddressInfo | string | null } }
  close(): Promise<void>
  /** Whatever the server counts about itself. */
  counters?(): unknown
}>

const listen = async ({ app }: Served): Promise<number> => {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return address.port
}

const usage = (served: Served | undefined): Usage => {
  const { user, system } = process.cpuUsage()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { user, system, heap: heapUsed + external, rss, counters: served?.counters?.() }
}

/** Collects what nobody needs, twice: what the first time was kept by a finalizer goes the second time. */
const collect = (): void => {
  if (globalThis.gc === undefined) throw new Error('start this process with --expose-gc')
  globalThis.gc()
  globalThis.gc()
}

/** Makes this process one server: opens it when the parent says with what, and answers the parent's questions. */
export const serve = (open: (setup: Setup) => Promise<Served>): void => {
  let served: Served | undefined
  const answer = async (question: Question): Promise<Reply> => {
    if (question.ask === 'open') {
      served = await open(question.setup)
      return { port: await listen(served) }
    }
    if (question.ask === 'memory') collect()
    if (question.ask !== 'close') return { usage: usage(served) }
    await served?.app.close()
    await served?.close()
    return { closed: true }
  }
  process.on('message', (question: Question) => {
    answer(question)
      .catch(
        (error: unknown): Reply => ({ failed: error instanceof Error ? `${error.stack}` : String(error) }),
      )
      .then((reply) => process.send?.(reply, () => 'closed' in reply && process.disconnect()))
      .catch(() => process.exit(1))
  })
  // The parent is gone: so is the reason to be here.
  process.on('disconnect', () => process.exit(0))
}
