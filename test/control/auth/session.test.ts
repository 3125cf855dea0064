import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant, join } = freehold

t.test('context says who, where, and what they may do', async (t) => {
  const member = await newTenant()
  const { body } = await call('GET', '/auth/context', {
    token: member.token,
    headers: { 'user-agent': 'test' },
  })
  t.match(body, {
    user: { id: member.personId, email: member.email },
    tenant: { id: member.tenantId, status: 'active', settings: {}, metadata: {} },
    role: 'Admin',
    tenants: [{ id: member.tenantId, role: 'Admin' }],
    session: { id: String, createdAt: /Z$/, expiresAt: /Z$/, address: '127.0.0.1' },
  })
})

t.test('switch gives a token for the tenant, and back to none', async (t) => {
  const member = await newTenant()
  const into = await call('POST', '/auth/switch', { token: member.token, body: { tenant: member.slug } })
  t.match(into.body, {
    tenant: { id: member.tenantId },
    role: 'Admin',
    tokenType: 'Bearer',
    refreshToken: /^fhr_/,
  })
  const out = await call('POST', '/auth/switch', {
    token: String(into.body.accessToken),
    body: { tenant: null },
  })
  t.match(out.body, { tenant: null, role: null, permissions: [] })
  const refused = await call('GET', '/api/projects', { token: String(out.body.accessToken) })
  t.match(refused.body, { status: 403, code: 'tenant_required' })
})

t.test("switching into somebody else's tenant, or one that is not there, is not_found", async (t) => {
  const [mine, other] = [await newTenant(), await newTenant()]
  for (const tenant of [other.tenantId, other.slug, 'no-such-tenant']) {
    const { body } = await call('POST', '/auth/switch', { token: mine.token, body: { tenant } })
    t.match(body, { status: 404, code: 'not_found' })
  }
})

for (const [status, expected] of [
  ['suspended', { status: 403, code: 'tenant_suspended' }],
  ['deleted', { status: 410, code: 'gone' }],
] as const) {
  t.test(`a ${status} tenant can't be entered, and tokens that are in it are refused`, async (t) => {
    const member = await newTenant()
    await call('GET', '/api/projects', { token: member.token })
    await service.master.db.updateTable('tenants').set({ status }).where('id', '=', member.tenantId).execute()
    service.grants.forget(`tenant:${member.tenantId}`)
    const entering = await call('POST', '/auth/switch', {
      token: member.token,
      body: { tenant: member.tenantId },
    })
    t.match(entering.body, expected)
    t.match((await call('GET', '/api/projects', { token: member.token })).body, expected)
  })
}

t.test('after logout the access token and the refresh token are refused at once', async (t) => {
  const { token, refreshToken } = await signUp()
  t.equal((await call('POST', '/auth/logout', { token })).status, 204)
  t.match((await call('GET', '/auth/context', { token })).body, { status: 401, code: 'unauthenticated' })
  t.match((await call('POST', '/auth/refresh', { body: { refreshToken } })).body, { status: 401 })
})

t.test('logout ends this session and no other', async (t) => {
  const { email, password, token } = await signUp()
  const { body } = await call('POST', '/auth/login', { body: { email, password } })
  await call('POST', '/auth/logout', { token })
  t.equal((await call('GET', '/auth/context', { token: String(body.accessToken) })).status, 200)
})

t.test('a removed member is refused, and context no longer shows the tenant', async (t) => {
  const admin = await newTenant()
  const member = await join(admin, 'Writer')
  t.equal((await call('GET', '/api/projects', { token: member.token })).status, 200)
  await service.master.db.deleteFrom('memberships').where('person_id', '=', member.personId).execute()
  service.grants.forget(`membership:${member.tenantId}:${member.personId}`)
  t.match((await call('GET', '/api/projects', { token: member.token })).body, {
    status: 403,
    code: 'forbidden',
  })
  t.match((await call('GET', '/auth/context', { token: member.token })).body, { tenant: null, tenants: [] })
})

t.test('a changed role acts at once on a token issued before', async (t) => {
  const admin = await newTenant()
  const member = await join(admin, 'Viewer')
  const create = () => call('POST', '/api/projects', { token: member.token, body: { name: 'x' } })
  t.equal((await create()).status, 403)
  const { id } = await service.master.db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'Writer')
    .executeTakeFirstOrThrow()
  await service.master.db
    .updateTable('memberships')
    .set({ role_id: id })
    .where('person_id', '=', member.personId)
    .execute()
  service.grants.forget(`membership:${member.tenantId}:${member.personId}`)
  t.equal((await create()).status, 201)
})

for (const [method, url] of [
  ['GET', '/auth/context'],
  ['POST', '/auth/logout'],
  ['POST', '/auth/switch'],
] as const) {
  t.test(`${method} ${url} is for signed-in people`, async (t) => {
    const answer = await call(method, url, method === 'POST' ? { body: { tenant: null } } : {})
    t.match(answer.body, { status: 401, code: 'unauthenticated' })
    t.equal(answer.headers['www-authenticate'], 'Bearer')
  })
}
