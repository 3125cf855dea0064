import { type QueryExecutorProvider, type RawBuilder, sql } from 'kysely'
import { LRUCache } from 'lru-cache'
import type { Logger } from '../kernel/log.ts'

/** A promised look lies so far ahead at least, and at most a step of the grid more: a busy tenant has few of them. */
const aheadSeconds = 20
const gridSeconds = 5
/** A promise is good for who asks again within so long: then it still lies 15 seconds ahead. */
const rememberedMs = 5_000
const rememberedTenants = 10_000
/** Looks that become due are put in the queue so many at a time. */
const dueAtOnce = 500

/**
 * Puts a look at this tenant in the queue. One waits at a time, and keeps its place in the line when it is asked for
 * again; one that runs already is followed by it. It runs when those of all other tenants that were there before have had
 * their turn.
 */
const addLook = (tenantId: RawBuilder<unknown>): RawBuilder<unknown> => sql`
  graphile_worker.add_job(
    identifier => 'run-tenant-jobs', payload => json_build_object('tenantId', ${tenantId}),
    job_key => 'jobs:' || ${tenantId}, job_key_mode => 'preserve_run_at')`

/** Keeps that this tenant is to be looked at; nothing when there is no such tenant. */
const keep = async (
  db: QueryExecutorProvider,
  tenantId: string,
  seconds: number,
  grid: number,
): Promise<void> => {
  await sql`
    insert into tenant_wakeups (tenant_id, wake_at)
    select id, to_timestamp(ceil((extract(epoch from now()) + ${seconds}::float8) / ${grid}::int) * ${grid}::int)
      from tenants where id = ${tenantId}::uuid
    on conflict do nothing`.execute(db)
}

/** Looks at tenants' jobs, promised in the master: when they are due a worker puts them in the queue. */
export type TenantWakeUps = {
  /** See `JobWakeUps` in the tenant room. */
  promise(tenantId: string): Promise<void>
  later(tenantId: string, milliseconds: number, gridSeconds?: number): Promise<void>
  now(tenantId: string): Promise<void>
  soon(tenantId: string): void
  /** Puts the looks that are due in the queue, of active tenants only: the others' wait until they are active again. */
  queueDue(): Promise<void>
  /** Waits for what `soon` has under way. */
  close(): Promise<void>
}

export const createTenantWakeUps = (db: QueryExecutorProvider, log: Logger): TenantWakeUps => {
  const promised = new LRUCache<string, number>({ max: rememberedTenants })
  const promising = new Map<string, Promise<void>>()
  const asked = new Map<string, { again: boolean; done: Promise<void> }>()

  const now = async (tenantId: string): Promise<void> => {
    await sql`select ${addLook(sql`${tenantId}::text`)}`.execute(db)
  }

  const promise = async (tenantId: string): Promise<void> => {
    const since = performance.now()
    await keep(db, tenantId, aheadSeconds, gridSeconds)
    promised.set(tenantId, since)
  }

  const askUntilQuiet = async (tenantId: string, state: { again: boolean }): Promise<void> => {
    try {
      do {
        state.again = false
        await now(tenantId)
      } while (state.again)
    } catch (error) {
      log.warn(
        { tenantId, err: error },
        'a look at jobs could not be queued; the promised one will find them',
      )
    } finally {
      asked.delete(tenantId)
    }
  }

  return {
    promise: async (tenantId) => {
      const since = promised.get(tenantId)
      if (since !== undefined && performance.now() - since < rememberedMs) return
      const underWay = promising.get(tenantId)
      if (underWay !== undefined) return underWay
      const made = promise(tenantId).finally(() => promising.delete(tenantId))
      promising.set(tenantId, made)
      await made
    },
    later: (tenantId, milliseconds, grid = 1) => keep(db, tenantId, milliseconds / 1_000, grid),
    now,
    soon: (tenantId) => {
      const state = asked.get(tenantId)
      if (state !== undefined) {
        // The one under way may have been seen, and its look over, before this one's commit.
        state.again = true
        return
      }
      const fresh = { again: false, done: Promise.resolve() }
      asked.set(tenantId, fresh)
      fresh.done = askUntilQuiet(tenantId, fresh)
    },
    close: async () => {
      await Promise.all([...asked.values()].map(({ done }) => done))
    },
    queueDue: async () => {
      // In the order of ids, because looks with one key wait for one another.
      await sql`
        with due as (
          delete from tenant_wakeups using (
            select w.tenant_id, w.wake_at from tenant_wakeups w join tenants t on t.id = w.tenant_id
             where w.wake_at <= now() and t.status = 'active'
             order by w.wake_at limit ${dueAtOnce} for update of w skip locked
          ) taken
          where tenant_wakeups.tenant_id = taken.tenant_id and tenant_wakeups.wake_at = taken.wake_at
          returning tenant_wakeups.tenant_id
        )
        select ${addLook(sql`tenant_id::text`)} from (select distinct tenant_id from due order by tenant_id) tenants`.execute(
        db,
      )
    },
  }
}
