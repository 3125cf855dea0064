import t from 'tap'
import { makePlatformAdmin, startFreehold } from '../helpers/freehold.ts'
import { ownRole } from '../helpers/own-role.ts'

/** Ways by which somebody would have more, or for longer, than they were given. */

const { call, service, signUp, newTenant, join } = await startFreehold(t)
const { db } = service.master

t.test('a platform admin who has entered for an hour makes no member of themselves', async (t) => {
  const admin = await newTenant()
  const operator = await signUp()
  await makePlatformAdmin(service, operator.personId)
  await db
    .updateTable('people')
    .set({ email_verified_at: new Date() })
    .where('id', '=', operator.personId)
    .execute()
  const { body } = await call('POST', '/auth/switch', {
    token: operator.token,
    body: { tenant: admin.tenantId, reason: 'A question of theirs' },
  })
  const token = String(body.accessToken)
  const input = { email: operator.email, role: 'Admin' }
  const refused = { status: 403, body: { code: 'forbidden' } }
  t.match(await call('POST', '/api/members', { token, body: input }), refused)
  t.match(await call('POST', '/api/invitations', { token, body: input }), refused)
  const { email } = await signUp()
  t.equal((await call('POST', '/api/members', { token, body: { email, role: 'Viewer' } })).status, 201)
})

t.test('who may not act as a system user neither lowers nor wakes it', async (t) => {
  const admin = await newTenant()
  const helper = await join(admin, 'Basic')
  const may = ['tenant-api:system-user:read', 'tenant-api:system-user:update', 'tenant-api:tenant:read']
  const role = await ownRole(service, admin.tenantId, 'Helper', may)
  const { token } = admin
  await call('PATCH', `/api/members/${helper.personId}`, { token, body: { role } })
  const made = await call('POST', '/api/system-users', {
    token,
    body: { name: 'Robot', serviceType: 'test', role: 'Admin' },
  })
  t.equal(made.status, 201, made.text)
  const change = (body: object) =>
    call('PATCH', `/api/system-users/${made.body.id}`, { token: helper.token, body })
  t.match(await change({ role: 'Basic' }), { status: 403, body: { code: 'forbidden' } })
  t.equal((await change({ disabled: true })).status, 200)
  t.match(await change({ disabled: false }), { status: 403, body: { code: 'forbidden' } })
})

t.test('who may not give a role gives it no other name', async (t) => {
  const admin = await newTenant()
  const helper = await join(admin, 'Basic')
  const role = await ownRole(service, admin.tenantId, 'Helper', [
    'tenant-api:role:read',
    'tenant-api:role:update',
  ])
  await call('PATCH', `/api/members/${helper.personId}`, { token: admin.token, body: { role } })
  const strong = await ownRole(service, admin.tenantId, 'Owner', ['tenant-api:*'])
  const rename = (token: string) =>
    call('PATCH', `/api/roles/${strong}`, { token, body: { name: 'Support' } })
  t.match(await rename(helper.token), { status: 403, body: { code: 'forbidden' } })
  t.equal((await rename(admin.token)).status, 200)
})

t.test('settings are no way around a plan that is used up, nor numbers around their size', async (t) => {
  const admin = await newTenant()
  const patch = (settings: object) => call('PATCH', '/api/tenant', { token: admin.token, body: { settings } })
  t.equal((await patch({ a: 1e20 })).status, 200)
  for (const number of [1e308, 1e-300]) {
    t.match(await patch({ a: [number] }), { status: 400, body: { code: 'validation_failed' } })
  }
  const ended = { status: 'expired' as const, ends_at: new Date(), trials: [] }
  await db
    .insertInto('subscriptions')
    .values({ tenant_id: admin.tenantId, ...ended })
    .execute()
  t.match(await patch({ a: 1 }), { status: 403, body: { code: 'plan_limit_reached' } })
  const rename = await call('PATCH', '/api/tenant', { token: admin.token, body: { name: 'Renamed' } })
  t.equal(rename.status, 200, 'a name takes no room')
})
