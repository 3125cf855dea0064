import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Test } from 'tap'
import {
  ConnectionRouter,
  type ConnectionRouterOptions,
} from '../../src/connection-router/connection-router.ts'
import type { PlacedTenant, TenantPlacement } from '../../src/connection-router/directory.ts'
import { randomSecret, scramVerifier } from '../../src/kernel/crypto.ts'
import { databaseName } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { connectTo, startTestPostgres, type TestPostgres } from '../helpers/postgres.ts'

export type TestSchema = { canary: { id: string; word: string } }
export type TestRouter = ConnectionRouter<TestSchema>

/** A real server with tenant databases, each with a table `canary` that holds the tenant's id. */
export type World = {
  readonly tenants: readonly PlacedTenant[]
  readonly server: Pick<TestPostgres, 'master' | 'superuser'>
  /** What the master would answer. A test changes it and calls `invalidate`. */
  readonly master: Map<string, TenantPlacement>
  readonly findTenant: (tenantId: string) => Promise<TenantPlacement | undefined>
  /** The superuser, in the database `postgres` or another one. */
  admin<R extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<R[]>
  tenant(index: number): PlacedTenant
  /** A named test. After it nothing may be left of its routers, in their books or on the server. */
  test(name: string, body: (t: Test) => Promise<void>): void
  router(options?: Partial<ConnectionRouterOptions>): TestRouter
  /** Sessions of tenants on the server. */
  sessions(): Promise<number>
}

const createTenant = async (admin: pg.Client, server: PostgresAddress): Promise<PlacedTenant> => {
  const [tenantId, databaseId] = [randomUUID(), randomUUID()]
  const name = databaseName(databaseId)
  const password = randomSecret()
  // As a tenant's role is made; see decision 15.
  await admin.query(`create role ${name} login password '${scramVerifier(password, 1)}'`)
  await admin.query(`create database ${name} owner ${name} template template0`)
  const address = { ...server, database: name, user: name, password }
  const client = new pg.Client(clientOptions({ ...server, database: name }))
  await client.connect()
  await client.query(`create table canary (id text primary key, word text not null);
    alter table canary owner to ${name}; insert into canary values ('same-id', '${tenantId}')`)
  await client.end()
  return {
    tenantId,
    status: 'active',
    databaseId,
    clusterId: 'main',
    epoch: 1,
    credentialVersion: 1,
    address,
  }
}

/** Starts a server for this test file; it is stopped at its end. */
export const startWorld = async (t: Test, tenantCount: number): Promise<World> => {
  const server = await startTestPostgres(t)
  const admin = await connectTo(t, server.superuser)
  const tenants: PlacedTenant[] = []
  for (let i = 0; i < tenantCount; i++) tenants.push(await createTenant(admin, server.superuser))
  const master = new Map<string, TenantPlacement>(tenants.map((tenant) => [tenant.tenantId, tenant]))
  const query: World['admin'] = async (sql, values = []) => (await admin.query(sql, values)).rows
  const sessions = async (): Promise<number> => {
    const rows = await query<{ n: string }>(
      `select count(*) as n from pg_stat_activity where application_name = 'freehold'`,
    )
    return Number(rows[0]?.n)
  }
  const routers: TestRouter[] = []
  const world: World = {
    tenants,
    server,
    master,
    findTenant: async (tenantId) => master.get(tenantId),
    admin: query,
    sessions,
    tenant: (index) => {
      const tenant = tenants[index]
      if (tenant === undefined) throw new RangeError('no such tenant')
      return tenant
    },
    test: (name, body) => {
      t.test(name, async (test) => {
        try {
          await body(test)
          await assertNothingLeft(test, world, routers)
        } finally {
          await Promise.all(routers.splice(0).map((router) => router.close({ deadlineMs: 100 })))
          for (const tenant of tenants) master.set(tenant.tenantId, tenant)
        }
      })
    },
    router: (options = {}) => {
      const router: TestRouter = new ConnectionRouter({
        findTenant: world.findTenant,
        budget: 8,
        tenantMaxConnections: 4,
        log: createLogger('silent'),
        ...options,
      })
      routers.push(router)
      return router
    },
  }
  return world
}

const assertNothingLeft = async (t: Test, world: World, routers: readonly TestRouter[]): Promise<void> => {
  for (const router of routers) {
    const { leases, waiters } = router.stats()
    t.equal(leases, 0, 'no lease is out')
    t.equal(waiters, 0, 'nobody waits')
    await router.close()
    for (const cluster of router.stats().clusters) t.equal(cluster.permitsUsed, 0, 'every permit is back')
    t.equal(router.stats().pools, 0, 'no pool is left')
  }
  t.equal(await world.sessions(), 0, 'no session is left on the server')
}

/** What the tenant's own table says: its id, wherever it is asked for. */
export const wordOf = async (router: TestRouter, { tenantId }: PlacedTenant): Promise<string | undefined> => {
  const rows = await router.use(tenantId, (db) => db.selectFrom('canary').selectAll().execute())
  return rows[0]?.word
}

/** Waits for something that will happen. */
export const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  const patience = Date.now() + 20_000
  while (!(await condition())) {
    if (Date.now() > patience) throw new Error('it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The code of the AppError that this promise is rejected with. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: { code?: string }) => error.code ?? String(error),
  )
