import pg from 'pg'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import type { App } from '../../src/http/app.ts'
import type { LedgerEntry } from '../../src/http/route-ledger.ts'
import { type Clock, systemClock } from '../../src/kernel/clock.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { type Grounds, openService, type Service } from '../../src/service.ts'
import { startTestPostgres, type TestPostgres } from './postgres.ts'

type Json = Record<string, unknown>

/** An answer with its body read as JSON (`{}` when there is none). */
export type Answer = {
  status: number
  headers: Record<string, unknown>
  body: Json & { [key: string]: never }
  text: string
}

export type Call = { token?: string | undefined; body?: unknown; headers?: Record<string, string> }

/** A signed-in person. */
export type SignedIn = {
  personId: string
  email: string
  password: string
  token: string
  refreshToken: string
}

/** A signed-in person working in a tenant. */
export type Member = SignedIn & { tenantId: string; slug: string }

/** One node of Freehold on a real Postgres, and the hands to use it like a client would. */
export type Freehold = {
  service: Service
  app: App
  routes: readonly LedgerEntry[]
  superuser: PostgresAddress
  call(method: string, url: string, call?: Call): Promise<Answer>
  /** Registers a new person. */
  signUp(): Promise<SignedIn>
  /** A new person with a new tenant of their own, switched into it as its Admin. */
  newTenant(): Promise<Member>
  /** A new person who is a member of `tenant` with this role, switched into it. */
  join(tenant: Member, role: string): Promise<Member>
  /** Runs SQL in the tenant's database as the server's superuser, behind Freehold's back. */
  asSuperuser(tenantId: string, sql: string): Promise<Record<string, unknown>[]>
}

const password = 'correct horse battery'
/** Most of a sign-up's time would be its hash, which has tests of its own. */
const passwordCost = { memoryCost: 256, timeCost: 1, parallelism: 1 }
let counter = 0

const connectHands = (
  app: App,
  service: Service,
): Omit<Freehold, 'service' | 'app' | 'routes' | 'superuser' | 'asSuperuser'> => {
  const call: Freehold['call'] = async (method, url, { token, body, headers = {} } = {}) => {
    const response = await app.inject({
      method: method as 'GET',
      url,
      headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { payload: body as object }),
    })
    const json = /\bjson/.test(String(response.headers['content-type']))
    return {
      status: response.statusCode,
      headers: response.headers,
      body: json ? response.json() : {},
      text: response.body,
    }
  }
  const mustBe = (answer: Answer, status: number): Answer => {
    if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${answer.text}`)
    return answer
  }
  const signUp: Freehold['signUp'] = async () => {
    counter += 1
    const email = `person-${counter}-${process.pid}@example.com`
    const { body } = mustBe(
      await call('POST', '/auth/register', {
        body: { email, password, firstName: 'Test', lastName: 'Person' },
      }),
      201,
    )
    const user = body.user as unknown as { id: string }
    return {
      personId: user.id,
      email,
      password,
      token: String(body.accessToken),
      refreshToken: String(body.refreshToken),
    }
  }
  const enter = async (person: SignedIn, tenantId: string, slug: string): Promise<Member> => {
    const { body } = mustBe(
      await call('POST', '/auth/switch', { token: person.token, body: { tenant: tenantId } }),
      200,
    )
    return {
      ...person,
      token: String(body.accessToken),
      refreshToken: String(body.refreshToken),
      tenantId,
      slug,
    }
  }
  return {
    call,
    signUp,
    newTenant: async () => {
      const person = await signUp()
      await provideSpare(service)
      const { body } = mustBe(
        await call('POST', '/tenants', { token: person.token, body: { name: `Tenant ${counter}` } }),
        201,
      )
      return enter(person, String(body.id), String(body.slug))
    },
    join: async (tenant, role) => {
      const person = await signUp()
      await addMember(service, tenant.tenantId, person.personId, role)
      return enter(person, tenant.tenantId, tenant.slug)
    },
  }
}

/** So that a new tenant need not wait for a worker, which is not there. */
const provideSpare = async (service: Service): Promise<void> => {
  const spare = await service.master.db
    .selectFrom('databases')
    .select('id')
    .where('status', '=', 'spare')
    .executeTakeFirst()
  if (spare === undefined) await service.manager.refillSpares()
}

/** Makes a person an active member, as an invitation would. */
export const addMember = async (
  service: Service,
  tenantId: string,
  personId: string,
  role: string,
): Promise<void> => {
  const { id } = await service.master.db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', role)
    .where('tenant_id', 'is', null)
    .executeTakeFirstOrThrow()
  await service.master.db
    .insertInto('memberships')
    .values({ tenant_id: tenantId, person_id: personId, role_id: id })
    .execute()
}

/** Makes a person a platform admin, as another one would. */
export const makePlatformAdmin = async (service: Service, personId: string): Promise<void> => {
  await service.master.db
    .updateTable('people')
    .set({ platform_admin: true })
    .where('id', '=', personId)
    .execute()
  service.grants.forget(`person:${personId}`)
}

const superuserOf =
  (service: Service, superuser: PostgresAddress): Freehold['asSuperuser'] =>
  async (tenantId, sql) => {
    const { name } = await service.master.db
      .selectFrom('tenants')
      .innerJoin('databases', 'databases.id', 'tenants.database_id')
      .select('databases.name')
      .where('tenants.id', '=', tenantId)
      .executeTakeFirstOrThrow()
    const client = new pg.Client(clientOptions({ ...superuser, database: name }))
    await client.connect()
    try {
      return (await client.query(sql)).rows
    } finally {
      await client.end()
    }
  }

/** After a test no lease is out, nobody waits, and no operation is half done. Throws what is left over. */
const mustBeAtRest = async (service: Service): Promise<void> => {
  const { leases, waiters } = service.router.stats()
  const running = await service.master.db
    .selectFrom('operations')
    .select(['kind', 'step'])
    .where('status', '=', 'running')
    // A tenant that waits for a worker to build its database is at rest.
    .where('step', '<>', 'waiting')
    .execute()
  const left = [
    leases && `${leases} leases`,
    waiters && `${waiters} waiters`,
    ...running.map((o) => `${o.kind} ${o.step}`),
  ]
  const faults = left.filter(Boolean)
  if (faults.length > 0) throw new Error(`left over after the test: ${faults.join(', ')}`)
}

/**
 * Starts a node on this server, with the master key that all test nodes share unless told otherwise, and stops it at the test's end. After
 * every test it must be at rest: no lease out, nobody waiting, no operation half done.
 */
export const startNode = async (
  t: Test,
  postgres: TestPostgres,
  env: Record<string, string> = {},
  masterKey: Grounds['masterKey'] = async () => Buffer.alloc(32, 7),
  clock: Clock = systemClock,
): Promise<Freehold> => {
  const config = loadConfig({ PUBLIC_URL: 'http://localhost:4000', RATE_LIMITS: 'off', ...env })
  const grounds = {
    master: postgres.master,
    provisioner: postgres.provisioner,
    masterKey,
  }
  const service = await openService(config, grounds, createLogger('silent'), clock, passwordCost)
  const { app, routes } = await buildApp(service, async () => [])
  t.teardown(async () => {
    await app.close()
    await service.close()
  })
  t.afterEach(() => mustBeAtRest(service))
  const asSuperuser = superuserOf(service, postgres.superuser)
  return { service, app, routes, superuser: postgres.superuser, asSuperuser, ...connectHands(app, service) }
}

/** Starts a furnished server and one node for a test file; see startNode. */
export const startFreehold = async (t: Test, env: Record<string, string> = {}): Promise<Freehold> =>
  startNode(t, await startTestPostgres(t, 'furnished'), env)
