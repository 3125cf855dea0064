import { Readable } from 'node:stream'
import t from 'tap'
import { tenantRoute } from '../../src/http/access-rules.ts'
import { createGuards } from '../../src/http/guards.ts'
import { openRouteLedger } from '../../src/http/route-ledger.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { until } from '../helpers/until.ts'

const { call, service, signUp, newTenant } = await startFreehold(t)
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
    warm: () => {},
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
