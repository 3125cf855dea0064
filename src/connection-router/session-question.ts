import type { ClusterBudget } from './cluster-budget.ts'
import { readText } from './statement-texts.ts'
import type { WaitsForClient } from './surroundings.ts'
import type { ServerConnection, TenantPool } from './tenant-pool.ts'
import { Statement } from './wire/statement.ts'

/** PostgreSQL manual, "Wait Events of Type Client". A role sees that of its own sessions. */
const question = 'select wait_event from pg_stat_activity where pid = $1'

/**
 * Asks about a session of this pool over another connection of it: one that has room, or a new one, if that takes nothing
 * from anybody.
 */
export const sessionQuestion =
  <C extends ServerConnection>(cluster: ClusterBudget<C>, pool: TenantPool<C>): WaitsForClient =>
  async (processId, timeoutMs) => {
    const statement = new Statement(readText(question), [processId], undefined)
    const { sharing } = cluster
    const { promise: tooLate, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(() => resolve(undefined), timeoutMs)
    const ask = async (): Promise<boolean | undefined> => {
      if (!sharing.tryRun(pool, statement)) {
        const { permitsUsed, permitsTotal, waiters } = cluster.stats()
        if (permitsUsed >= permitsTotal || waiters > 0) return undefined
        await sharing.run(pool, statement, { timeoutMs })
      }
      const [session] = (await statement.promise).rows as { wait_event: string | null }[]
      return session === undefined || session.wait_event === 'ClientRead'
    }
    try {
      return await Promise.race([ask().catch(() => undefined), tooLate])
    } finally {
      clearTimeout(timer)
    }
  }
