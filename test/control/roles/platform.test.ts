import t from 'tap'
import { syncSystemRoles } from '../../../src/access/system-roles.ts'
import { makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, join, newTenant, service, signUp } = freehold
const { create, newPolicy, newRole, setRole } = accessHands(freehold)
const { db } = service.master

const operator = await signUp()
await makePlatformAdmin(service, operator.personId)
const { token } = operator
const admin = await newTenant()

const shipped = async (path: string, name: string): Promise<string> => {
  const { body } = await call('GET', path, { token })
  const found = (body.data as unknown as { id: string; name: string }[]).find((one) => one.name === name)
  return String(found?.id)
}

t.test('a role made on the platform is offered to all tenants', async (t) => {
  const permissions = ['tenant-api:audit:*']
  const policy = await create(token, '/platform/policies', { name: 'Auditing', permissions })
  const role = await create(token, '/platform/roles', { name: 'Auditor', policies: [policy] })
  const seen = await call('GET', `/api/roles/${role}`, { token: admin.token })
  t.match(seen.body, {
    name: 'Auditor',
    system: true,
    permissions: ['tenant-api:audit:export', 'tenant-api:audit:read'],
  })
  t.equal((await call('DELETE', `/api/roles/${role}`, { token: admin.token })).status, 403)
  const member = await join(admin, 'Auditor')
  const holds = async () => (await call('GET', '/auth/context', { token: member.token })).body.permissions
  t.strictSame(await holds(), ['tenant-api:audit:export', 'tenant-api:audit:read'])
  const added = `/platform/policies/${policy}/permissions/tenant-api:member:read`
  t.equal((await call('PUT', added, { token })).status, 204)
  t.ok(String(await holds()).includes('member:read'), 'at once')
  t.match(await call('DELETE', `/platform/roles/${role}`, { token }), {
    status: 409,
    body: { detail: /^1 member has/ },
  })
  t.match((await call('GET', `/platform/roles/${role}`, { token })).body, { members: 1 })
  const other = await newTenant()
  t.match((await call('GET', `/api/roles/${role}`, { token: other.token })).body, { members: 0 }, 'of theirs')
  const own = await newRole(other.token, [policy])
  t.match((await call('DELETE', `/platform/policies/${policy}`, { token })).body, { detail: /^2 roles have/ })
  await setRole(member, own)
  t.equal((await call('DELETE', `/platform/roles/${role}`, { token })).status, 204)
  await call('DELETE', `/api/roles/${own}/policies/${policy}`, { token: other.token })
  t.equal((await call('DELETE', `/platform/policies/${policy}`, { token })).status, 204)
  const log = await db
    .selectFrom('audit_log')
    .select('action')
    .where('entity_id', '=', role)
    .where('actor_id', '=', operator.personId)
    .where('tenant_id', 'is', null)
    .orderBy('id')
    .execute()
  t.strictSame(
    log.map(({ action }) => action),
    ['role.created', 'role.policy_added', 'role.deleted'],
  )
})

t.test('what comes with Freehold is kept by it', async (t) => {
  const [role, policy] = [
    await shipped('/platform/roles', 'Writer'),
    await shipped('/platform/policies', 'Writer'),
  ]
  const more = await create(token, '/platform/policies', {})
  const refused = [
    ['PATCH', `/platform/roles/${role}`],
    ['DELETE', `/platform/roles/${role}`],
    ['PUT', `/platform/roles/${role}/policies/${more}`],
    ['DELETE', `/platform/roles/${role}/policies/${policy}`],
    ['PATCH', `/platform/policies/${policy}`],
    ['DELETE', `/platform/policies/${policy}`],
    ['PUT', `/platform/policies/${policy}/permissions/tenant-api:role:delete`],
    ['DELETE', `/platform/policies/${policy}/permissions/tenant-api:project:read`],
  ] as const
  for (const [method, url] of refused) {
    const answer = await call(method, url, { token, body: method === 'PATCH' ? { name: 'X' } : undefined })
    t.match(answer, { status: 403, body: { code: 'forbidden', detail: /comes with Freehold/ } }, url)
  }
  await db.insertInto('role_policies').values({ role_id: role, policy_id: more }).execute()
  await syncSystemRoles(db)
  const { body } = await call('GET', `/platform/roles/${role}`, { token })
  t.match(body.policies, [{ id: policy }], 'a start puts it right')
  t.equal((body.policies as unknown as []).length, 1)
})

t.test("tenants' own are none of the platform's, and the platform is for its admins", async (t) => {
  const [role, policy] = [await newRole(admin.token), await newPolicy(admin.token)]
  const wide = await create(token, '/platform/roles', {})
  for (const url of [`/platform/roles/${role}`, `/platform/policies/${policy}`]) {
    for (const method of ['GET', 'DELETE']) t.equal((await call(method, url, { token })).status, 404)
  }
  t.equal((await call('PUT', `/platform/roles/${wide}/policies/${policy}`, { token })).status, 404)
  const { body } = await call('GET', '/platform/roles', { token })
  t.ok((body.data as unknown as { system: boolean }[]).every(({ system }) => system))
  const paths = ['roles', 'policies', 'permissions', `roles/${wide}`]
  for (const path of paths) {
    t.equal((await call('GET', `/platform/${path}`, { token: admin.token })).status, 403)
    t.equal((await call('GET', `/platform/${path}`, { token })).status, 200)
  }
  const body403 = { token: admin.token, body: { name: 'Mine' } }
  t.equal((await call('POST', '/platform/roles', body403)).status, 403)
})

t.test("a name that the platform takes later stays the tenant's own there", async (t) => {
  const own = await create(admin.token, '/api/roles', { name: 'Planner' })
  const wide = await create(token, '/platform/roles', { name: 'Planner' })
  for (const id of [own, wide])
    t.equal((await call('GET', `/api/roles/${id}`, { token: admin.token })).status, 200)
  t.match(await call('POST', '/platform/roles', { token, body: { name: 'planner' } }), { status: 409 })
})
