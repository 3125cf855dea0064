import { setTimeout as sleep } from 'node:timers/promises'
import type { QueuePool } from './run-tasks.ts'

/** The names that graphile-worker gives to the statements that end jobs. */
const endsJobs = /^(complete|fail)_job/

/** Somebody who adds many jobs at once may lock them in another order than we end them. PostgreSQL manual, appendix A. */
const deadlockDetected = '40P01'
const mostAttempts = 5
const pauseMs = 20

type Client = { query(...given: unknown[]): Promise<unknown> }

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code

/** A view of `target` with some of its members replaced. */
const view = <T extends object>(target: T, members: Partial<Record<string, unknown>>): T =>
  new Proxy(target, {
    get: (_, key) => {
      if (typeof key === 'string' && key in members) return members[key]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

/**
 * The pool as graphile-worker gets it. When a statement that ends jobs fails, graphile-worker 0.18 loses count of them: it
 * gives up and then may never end. So such a statement is tried again when it lost a deadlock, and seems to succeed when it
 * failed for good: `onLost` is told, and must stop the runner, whose jobs are then given back as those of a killed one.
 */
export const sparingPool = (pool: QueuePool, onLost: (error: unknown) => void): QueuePool => {
  const endJobs = async (end: () => Promise<unknown>): Promise<unknown> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await end()
      } catch (error) {
        if (codeOf(error) !== deadlockDetected || attempt === mostAttempts) {
          onLost(error)
          return { rows: [], rowCount: 0 }
        }
        await sleep(pauseMs * attempt)
      }
    }
  }
  const sparing = (client: Client): Client =>
    view(client, {
      query: (...given: unknown[]): Promise<unknown> => {
        const query = (): Promise<unknown> => client.query(...given)
        const { name } = Object(given[0]) as { name?: unknown }
        return typeof name === 'string' && endsJobs.test(name) ? endJobs(query) : query()
      },
    })
  return view(pool, {
    connect: (...given: unknown[]): unknown =>
      given.length > 0
        ? Reflect.apply(pool.connect, pool, given)
        : (pool.connect() as Promise<unknown>).then((client) => sparing(client as Client)),
  })
}
