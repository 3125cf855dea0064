import type { ClusterBudget } from './cluster-budget.ts'
import { readText } from './statement-texts.ts'
import type { AskAboutSession } from './surroundings.ts'
import type { ServerConnection, TenantPool } from './tenant-pool.ts'
import { Statement } from './wire/statement.ts'

/** PostgreSQL manual, "Wait Events of Type Client". A role sees that of its own sessions, and may end them. */
const look = readText('select wait_event from pg_catalog.pg_stat_activity where pid = $1')
/** In one statement, so that a session that has begun to work meanwhile is left alone. */
const endWaiting = readText(
  `select case when wait_event = 'ClientRead' and pg_catalog.pg_terminate_backend(pid) then wait_event else 'works' end as wait_event
   from pg_catalog.pg_stat_activity where pid = $1`,
)

/** Pools about whose sessions something is being asked: on a server that is slow to answer, questions shall not pile up. */
const asking = new WeakSet<object>()

/**
 * Asks about a session of this pool over another connection of it that has room. Where there is none, or it does not answer, a
 * new one is opened for the next question, if that takes nothing from anybody.
 */
export const sessionQuestion =
  <C extends ServerConnection>(cluster: ClusterBudget<C>, pool: TenantPool<C>): AskAboutSession =>
  async ({ processId, andEnd, timeoutMs }) => {
    if (asking.has(pool)) return undefined
    asking.add(pool)
    const statement = new Statement(andEnd ? endWaiting : look, [processId], undefined)
    const answer = statement.promise.then(
      ({ rows }) => (rows as { wait_event: string | null }[])[0],
      () => undefined,
    )
    const { promise: tooLate, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(() => resolve(undefined), timeoutMs)
    try {
      const session = cluster.sharing.tryAside(pool, statement) && (await Promise.race([answer, tooLate]))
      if (session) return session.wait_event === 'ClientRead'
      cluster.openSpare(pool)
      return undefined
    } finally {
      clearTimeout(timer)
      asking.delete(pool)
    }
  }
