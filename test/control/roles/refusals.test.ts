import t from 'tap'
import { allPermissions } from '../../../src/access/catalogue.ts'
import { newId } from '../../../src/kernel/ids.ts'
import { startFreehold } from '../../helpers/freehold.ts'
import { connectTo } from '../../helpers/postgres.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, newTenant, service } = freehold
const { joinHolding, newPolicy, newRole } = accessHands(freehold)
const { db } = service.master

t.test('bodies are refused for what they must not say', async (t) => {
  const { token } = await newTenant()
  const [role, policy] = [await newRole(token), await newPolicy(token)]
  const bodies = [
    ['POST', '/api/roles', { name: 'New' }],
    ['PATCH', `/api/roles/${role}`, { name: 'New' }],
    ['POST', '/api/policies', { name: 'New' }],
    ['PATCH', `/api/policies/${policy}`, { name: 'New' }],
    ['POST', '/api/authorize', { permission: 'tenant-api:project:read' }],
    ['POST', '/api/authorize/batch', { checks: [{ permission: 'tenant-api:project:read' }] }],
  ] as const
  const extra = ['tenantId', 'role', 'status', 'platformAdmin', 'id', 'createdAt', 'system', 'members']
  for (const [method, url, good] of bodies) {
    for (const field of extra) {
      const answer = await call(method, url, { token, body: { ...good, [field]: newId() } })
      t.match(answer, { status: 400, body: { code: 'validation_failed' } }, `${method} ${url} ${field}`)
    }
  }
  const bad = [
    ['POST', '/api/roles', {}],
    ['POST', '/api/roles', { name: ' ' }],
    ['POST', '/api/roles', { name: 'x'.repeat(101) }],
    ['POST', '/api/roles', { name: 'New', policies: ['x'] }],
    ['PATCH', `/api/roles/${role}`, {}],
    ['POST', '/api/policies', { name: 'New', permissions: ['tenant-api:nothing:read'] }],
    ['POST', '/api/policies', { name: 'New', permissions: ['*'] }],
    ['POST', '/api/policies', { name: 'New', permissions: ['tenant-api:pro*'] }],
    ['PUT', `/api/policies/${policy}/permissions/tenant-api:future:*`, undefined],
    ['PUT', `/api/policies/${policy}/permissions/other-api:*`, undefined],
    ['GET', '/api/roles/not-an-id', undefined],
  ] as const
  for (const [method, url, body] of bad) {
    const answer = await call(method, url, { token, body })
    t.match(answer, { status: 400, body: { code: 'validation_failed' } }, `${url} ${JSON.stringify(body)}`)
  }
})

t.test('each route wants its own permission', async (t) => {
  const admin = await newTenant()
  const [role, policy] = [await newRole(admin.token), await newPolicy(admin.token)]
  const body = { name: `Named ${newId()}` }
  const doors = [
    ['GET', '/api/roles', 'role:read'],
    ['GET', `/api/roles/${role}`, 'role:read'],
    ['POST', '/api/roles', 'role:create', body],
    ['PATCH', `/api/roles/${role}`, 'role:update', { description: 'x' }],
    ['PUT', `/api/roles/${role}/policies/${policy}`, 'role:update'],
    ['DELETE', `/api/roles/${role}/policies/${policy}`, 'role:update'],
    ['DELETE', `/api/roles/${role}`, 'role:delete'],
    ['GET', '/api/policies', 'policy:read'],
    ['GET', `/api/policies/${policy}`, 'policy:read'],
    ['POST', '/api/policies', 'policy:create', body],
    ['PATCH', `/api/policies/${policy}`, 'policy:update', { description: 'x' }],
    ['PUT', `/api/policies/${policy}/permissions/tenant-api:role:read`, 'policy:update'],
    ['DELETE', `/api/policies/${policy}/permissions/tenant-api:role:read`, 'policy:update'],
    ['DELETE', `/api/policies/${policy}`, 'policy:delete'],
    ['GET', '/api/permissions', 'permission:read'],
  ] as const
  const member = await joinHolding(admin, [])
  for (const [method, url, permission, body] of doors) {
    const wanted = `tenant-api:${permission}` as const
    const hold = async (permissions: string[]) => {
      await db.deleteFrom('policy_permissions').where('policy_id', '=', member.policyId).execute()
      const rows = permissions.map((one) => ({ policy_id: member.policyId, permission: one }))
      await db.insertInto('policy_permissions').values(rows).execute()
      service.grants.forget(`access:${member.tenantId}`)
    }
    await hold(allPermissions.filter((one) => one !== wanted))
    const refused = await call(method, url, { token: member.token, body })
    t.match(refused, { status: 403, body: { code: 'forbidden' } }, `${method} ${url} without`)
    await hold([...new Set([wanted, 'tenant-api:role:read'])])
    const { status } = await call(method, url, { token: member.token, body })
    t.ok([200, 201, 204].includes(status), `${method} ${url} with: ${status}`)
  }
})

t.test('a change whose audit entry fails has not happened', async (t) => {
  const { token } = await newTenant()
  const [role, policy] = [await newRole(token), await newPolicy(token)]
  const superuser = await connectTo(t, { ...freehold.superuser, database: service.master.address.database })
  await superuser.query(`alter table audit_log add constraint full_disk check (false) not valid`)
  t.teardown(() => superuser.query('alter table audit_log drop constraint if exists full_disk'))
  const state = async () => [
    await db.selectFrom('roles').selectAll().orderBy('id').execute(),
    await db.selectFrom('policies').selectAll().orderBy('id').execute(),
    await db.selectFrom('role_policies').selectAll().orderBy('role_id').execute(),
    await db
      .selectFrom('policy_permissions')
      .selectAll()
      .orderBy('policy_id')
      .orderBy('permission')
      .execute(),
  ]
  const before = await state()
  const changes = [
    ['POST', '/api/roles', { name: 'New' }],
    ['PATCH', `/api/roles/${role}`, { name: 'New' }],
    ['PUT', `/api/roles/${role}/policies/${policy}`, undefined],
    ['DELETE', `/api/roles/${role}`, undefined],
    ['POST', '/api/policies', { name: 'New' }],
    ['PATCH', `/api/policies/${policy}`, { name: 'New' }],
    ['PUT', `/api/policies/${policy}/permissions/tenant-api:job:run`, undefined],
    ['DELETE', `/api/policies/${policy}`, undefined],
  ] as const
  for (const [method, url, body] of changes) {
    t.equal((await call(method, url, { token, body })).status, 500, `${method} ${url}`)
  }
  await superuser.query('alter table audit_log drop constraint full_disk')
  t.strictSame(await state(), before)
})
