import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { accountRoute, memberRoute, tenantRoute } from '../../src/http/access-rules.ts'
import { createGuards, memberScopeOf, tenantScopeOf } from '../../src/http/guards.ts'
import type { Identity } from '../../src/http/identity.ts'
import { openRouteLedger } from '../../src/http/route-ledger.ts'
import { createServer } from '../../src/http/server.ts'
import { AppError } from '../../src/kernel/errors.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { masterStatements } from '../helpers/master-statements.ts'
import { until } from '../helpers/until.ts'

const { call, join, service, signUp, newTenant } = await startFreehold(t)
const { db } = service.master

/** Asks again until the change that was just made in the master has reached this node, as it must by itself. */
const soon = (token: string, url: string, status: number) =>
  until(async () => (await call('GET', url, { token })).status === status)

const closed = [
  ['suspended', 403, 'tenant_suspended'],
  ['deleted', 410, 'gone'],
  ['pending', 409, 'tenant_not_ready'],
] as const
for (const [tenantStatus, status, code] of closed) {
  t.test(`a ${tenantStatus} tenant is closed to its members, before their body is read`, async (t) => {
    const { token, tenantId } = await newTenant()
    t.equal((await call('GET', '/api/projects', { token })).status, 200)
    const set = (to: 'active' | typeof tenantStatus) =>
      db.updateTable('tenants').set({ status: to }).where('id', '=', tenantId).execute()
    await set(tenantStatus)
    await soon(token, '/api/projects', status)
    const answer = await call('POST', '/api/projects', { token, body: { unknown: true } })
    t.match(answer.body, { status, code })
    await set('active')
    await soon(token, '/api/projects', 200)
  })
}

t.test('a request of a tenant in use asks the master nothing', async (t) => {
  const { token } = await newTenant()
  const list = async (): Promise<void> =>
    void t.equal((await call('GET', '/api/projects', { token })).status, 200)
  await list()
  t.strictSame(await masterStatements(service, list), [])
  service.grants.forgetAll()
  const asked = await masterStatements(service, list)
  t.equal(asked.filter((said) => said !== 'connect').length, 2, 'its session and its grant, once forgotten')
  t.strictSame(await masterStatements(service, list), [])
})

t.test('a disabled person is refused with the token they hold', async () => {
  const { token, personId } = await signUp()
  await soon(token, '/auth/context', 200)
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', personId).execute()
  await soon(token, '/auth/context', 401)
})

t.test('a session that has expired is refused, whatever its token says', async () => {
  const { token, personId } = await signUp()
  await soon(token, '/auth/context', 200)
  await db
    .updateTable('sessions')
    .set({ expires_at: new Date(Date.now() - 1_000) })
    .where('person_id', '=', personId)
    .execute()
  await soon(token, '/auth/context', 401)
})

t.test('a role that loses a permission loses it at once', async () => {
  const { token } = await newTenant()
  await soon(token, '/api/projects', 200)
  const policy = db.selectFrom('policies').select('id').where('name', '=', 'Admin')
  const taken = await db
    .deleteFrom('policy_permissions')
    .where('policy_id', 'in', policy)
    .returningAll()
    .execute()
  await soon(token, '/api/projects', 403)
  await db.insertInto('policy_permissions').values(taken).execute()
  await soon(token, '/api/projects', 200)
})

t.test('a stream that a handler returns keeps the lease until it has ended', async (t) => {
  const { personId, tenantId } = await newTenant()
  const app = createServer(createLogger('silent'))
  t.teardown(() => app.close())
  let out = 0
  const guards = createGuards(app, {
    authenticate: () => ({ personId, tenantId, sessionId: personId, platformAdmin: false, system: false }),
    grants: service.grants,
    warm: async () => {},
    countRequest: () => {},
    lease: async () => {
      out += 1
      const release = () => {
        out -= 1
      }
      return { tenantId, db: undefined, release }
    },
  })
  openRouteLedger(app, guards)
  const config = tenantRoute('tenant-api:project:read')
  const seen: number[] = []
  const lines = async function* () {
    for (const line of ['a', 'b']) {
      seen.push(out)
      yield line
    }
  }
  app.get('/api/stream', { config }, async () => Readable.from(lines()))
  app.get('/api/broken-stream', { config }, async () =>
    Readable.from(lines()).map(() => Promise.reject(new Error('broken'))),
  )
  app.get('/api/error', { config }, async () => Promise.reject(new Error('broken')))
  t.equal((await app.inject('/api/stream')).body, 'ab')
  t.strictSame(seen, [1, 1], 'held while it streams')
  await until(async () => out === 0)
  await app.inject('/api/broken-stream').catch(() => undefined)
  await until(async () => out === 0)
  t.equal((await app.inject('/api/error')).statusCode, 500)
  t.equal(out, 0)
})

t.test('where the tenant is comes before what the person holds there', async (t) => {
  const { personId, tenantId } = await newTenant()
  const identity = { personId, tenantId, sessionId: personId, platformAdmin: false, system: false }
  for (const known of [true, false]) {
    const app = createServer(createLogger('silent'))
    t.teardown(() => app.close())
    const events: string[] = []
    const { grants } = service
    const guards = createGuards(app, {
      authenticate: (_request, expect) => {
        if (known) return identity
        return Promise.resolve(expect?.(tenantId, personId)).then(() => identity)
      },
      grants: {
        peekGrant: () => undefined,
        grant: async (...of: Parameters<typeof grants.grant>) => {
          events.push('grant')
          return grants.grant(...of)
        },
      } as unknown as typeof grants,
      warm: async () => {
        await new Promise(setImmediate)
        events.push('way')
      },
      countRequest: () => {},
      lease: async () => ({ tenantId, db: undefined, release: () => {} }),
    })
    openRouteLedger(app, guards)
    app.get('/api/data', { config: tenantRoute('tenant-api:tenant:read') }, async () => 'fine')
    t.equal((await app.inject('/api/data')).body, 'fine')
    t.strictSame(events.slice(0, 2), ['way', 'grant'], known ? 'the session was remembered' : 'it was not')
  }
})

/** A small application with the real guards and grants, which counts what is asked of a tenant's database. */
const memberApp = (t: Test) => {
  const app = createServer(createLogger('silent'))
  t.teardown(() => app.close())
  const asked = { warm: 0, lease: 0 }
  const who: { now: Identity | undefined; expected: boolean } = { now: undefined, expected: false }
  const guards = createGuards(app, {
    authenticate: (_request, expect) => {
      const { now } = who
      if (now === undefined) throw new AppError('unauthenticated', 'Nobody.')
      // As when the session must be looked up.
      if (expect !== undefined && now.tenantId !== null) expect(now.tenantId, now.personId)
      who.expected = expect !== undefined
      return now
    },
    grants: service.grants,
    warm: async () => {
      asked.warm += 1
    },
    countRequest: () => {},
    lease: async (tenantId) => {
      asked.lease += 1
      return { tenantId, db: undefined, release: () => {} }
    },
  })
  openRouteLedger(app, guards)
  const answer = (request: FastifyRequest) => {
    const scope = memberScopeOf(request)
    return { ...scope, grant: { ...scope.grant, permissions: [...scope.grant.permissions] } }
  }
  app.get('/api/master', { config: memberRoute('tenant-api:tenant:update') }, async (r) => answer(r))
  app.get('/api/anybody', { config: memberRoute('any member') }, async (r) => answer(r))
  app.get('/api/data', { config: tenantRoute('tenant-api:tenant:read') }, async (r) => answer(r))
  app.get('/account', { config: accountRoute() }, async (r) => answer(r))
  app.get('/api/no-db', { config: memberRoute('tenant-api:tenant:read') }, async (r) => tenantScopeOf(r))
  const get = async (url: string, identity: Partial<Identity> | undefined) => {
    const nobody = { tenantId: null, sessionId: '', personId: '', platformAdmin: false, system: false }
    who.now = identity && { ...nobody, ...identity }
    const response = await app.inject(url)
    return { status: response.statusCode, body: response.json() }
  }
  return { get, asked, who }
}

t.test('a member route is guarded as a tenant route is, and asks nothing of the database', async (t) => {
  const { get, asked, who } = memberApp(t)
  const admin = await newTenant()
  const basic = await join(admin, 'Basic')
  const other = await newTenant()
  const { tenantId, personId } = admin
  const found = await get('/api/master', { tenantId, personId })
  t.match(found, { status: 200, body: { tenantId, personId, actor: { kind: 'person', id: personId } } })
  t.match(found.body.grant, { role: 'Admin' })
  t.ok(found.body.grant.permissions.includes('tenant-api:role:create'))
  t.ok(who.expected, 'grants are looked up beside the session')
  t.match(await get('/api/anybody', { tenantId, personId: basic.personId, system: true }), {
    status: 200,
    body: { actor: { kind: 'system', id: basic.personId }, grant: { role: 'Basic' } },
  })
  const refused = [
    [{ tenantId, personId: basic.personId }, 403, 'forbidden', '/api/master'],
    [{ tenantId, personId: other.personId }, 403, 'forbidden', '/api/master'],
    [{ tenantId, personId: other.personId }, 403, 'forbidden', '/api/anybody'],
    [{ tenantId, personId: other.personId, platformAdmin: true }, 403, 'forbidden', '/api/anybody'],
    [{ personId }, 403, 'tenant_required', '/api/anybody'],
    [undefined, 401, 'unauthenticated', '/api/anybody'],
  ] as const
  for (const [identity, status, code, url] of refused) {
    t.match(await get(url, identity), { status, body: { code } }, `${url} ${code}`)
  }
  await db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', tenantId).execute()
  service.grants.forget(`tenant:${tenantId}`)
  for (const url of ['/api/master', '/api/anybody']) {
    t.match(await get(url, { tenantId, personId }), { status: 403, body: { code: 'tenant_suspended' } })
  }
  t.strictSame(asked, { warm: 0, lease: 0 })
})

t.test('the scope of a member route is handed out on member routes only', async (t) => {
  const { get, asked } = memberApp(t)
  const { tenantId, personId } = await newTenant()
  for (const url of ['/api/data', '/account', '/api/no-db']) {
    t.equal((await get(url, { tenantId, personId })).status, 500, url)
  }
  t.equal(asked.lease, 1, 'the tenant route took its lease')
})
