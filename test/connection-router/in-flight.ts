import { type RawBuilder, sql } from 'kysely'
import pg from 'pg'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import type { ClusterStats } from '../../src/connection-router/stats.ts'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import type { TestRouter, TestSchema, World } from './world.ts'

export type Db = TenantDb<TestSchema>

/** The superuser in a tenant's database, with a table of 400 counters there. Close it. */
export const openInside = async (world: World, { address }: PlacedTenant): Promise<pg.Client> => {
  const { database } = address
  const client = new pg.Client(clientOptions({ ...world.server.superuser, database }))
  await client.connect()
  await client.query(`create table counters (id int primary key, n int not null);
    alter table counters owner to ${address.user}; insert into counters select i, 0 from generate_series(1, 400) i;
    create table pairs (id int primary key); alter table pairs owner to ${address.user}`)
  return client
}

export const cluster = (router: TestRouter): ClusterStats => {
  const [stats] = router.stats().clusters
  if (stats === undefined) throw new Error('no cluster')
  return stats
}

export const inFlight = (router: TestRouter): number => router.stats().clusters[0]?.inFlight ?? 0

export const increment = (id: number): RawBuilder<unknown> =>
  sql`update counters set n = n + 1 where id = ${id}`

export const read = (db: Db): Promise<string | undefined> =>
  db
    .selectFrom('canary')
    .select('word')
    .executeTakeFirst()
    .then((row) => row?.word)

/** Runs `work` until everything it sends at once is in flight at once, on one connection: its texts are known as quick. */
export const together = async <T>(
  router: TestRouter,
  count: number,
  work: () => Promise<T>[],
): Promise<T[]> => {
  for (;;) {
    const running = work()
    const sent = inFlight(router)
    const results = await Promise.all(running)
    if (sent === count && cluster(router).opening === 0) return results
  }
}

/** Makes what `work` sends wait behind a lock, until `unlock`. `warm` is the like of it, to be known as quick. */
export const blocked = async <T>(
  superuser: pg.Client,
  router: TestRouter,
  lock: string,
  warm: () => Promise<unknown>[],
  work: () => Promise<T>[],
): Promise<{ results: Promise<PromiseSettledResult<T>[]>; unlock(): Promise<void> }> => {
  await together(router, warm().length, warm)
  await superuser.query('begin')
  await superuser.query(lock)
  const results = Promise.allSettled(work())
  return {
    results,
    unlock: async () => {
      await superuser.query('commit')
    },
  }
}
