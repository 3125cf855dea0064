import t from 'tap'
import { type Answer, type Call, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'

/** Whatever is changed in the master and concerns a tenant is in that tenant's own audit log. */

const { call, service, signUp, newTenant, asSuperuser } = await startFreehold(t)

const admin = await newTenant()
const { token, tenantId } = admin
const operator = await signUp()
await makePlatformAdmin(service, operator.personId)

const must = async (method: string, url: string, given: Call): Promise<Answer['body'] & { id: string }> => {
  const answer = await call(method, url, given)
  if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.status} ${answer.text}`)
  return answer.body as Answer['body'] & { id: string }
}
const asAdmin = (method: string, url: string, body?: object) =>
  must(method, url, { token, ...(body && { body }) })
const asOperator = (method: string, url: string, body?: object) =>
  must(method, url, { token: operator.token, ...(body && { body }) })

type Entry = { action: string; actor_kind: string; actor_id: string | null; entity_id: string | null }

/** What the tenant's log has since the last call. */
let seen = 0
const told = async (): Promise<Entry[]> => {
  await service.manager.deliverOutbox(tenantId)
  const entries = await asSuperuser(tenantId, 'select * from audit_log order by id')
  const fresh = entries.slice(seen)
  seen = entries.length
  return fresh as Entry[]
}
const actions = async (): Promise<string[]> => (await told()).map(({ action }) => action)

t.test('its creation, and who enters it', async (t) => {
  t.strictSame(await actions(), ['tenant.created', 'session.tenant_chosen'])
  await must('POST', '/auth/login', { body: { email: admin.email, password: admin.password } })
  t.match(await told(), [{ action: 'session.started', actor_id: admin.personId }])
})

t.test('its members and invitations', async (t) => {
  const [member, guest] = [await signUp(), await signUp()]
  await asAdmin('POST', '/api/members', { email: member.email, role: 'Viewer' })
  await asAdmin('PATCH', `/api/members/${member.personId}`, { role: 'Writer' })
  await asAdmin('DELETE', `/api/members/${member.personId}`)
  await asAdmin('POST', '/api/members', { email: member.email, role: 'Viewer' })
  await must('POST', `/tenants/${tenantId}/leave`, { token: member.token })
  t.strictSame(await actions(), [
    ...['member.added', 'member.updated', 'member.removed', 'member.added', 'member.left'],
  ])
  const { id } = await asAdmin('POST', '/api/invitations', { email: guest.email, role: 'Viewer' })
  await asAdmin('POST', `/api/invitations/${id}/resend`)
  await asAdmin('DELETE', `/api/invitations/${id}`)
  t.match(await told(), [
    { action: 'invitation.created', entity_id: id, actor_id: admin.personId, actor_kind: 'person' },
    ...[{ action: 'invitation.resent' }, { action: 'invitation.cancelled' }],
  ])
})

t.test('its roles, policies and system users', async (t) => {
  const role = await asAdmin('POST', '/api/roles', { name: 'Clerk' })
  const policy = await asAdmin('POST', '/api/policies', { name: 'Clerks', permissions: [] })
  await asAdmin('PUT', `/api/policies/${policy.id}/permissions/tenant-api:project:read`)
  await asAdmin('PUT', `/api/roles/${role.id}/policies/${policy.id}`)
  await asAdmin('PATCH', `/api/roles/${role.id}`, { name: 'Clerks' })
  await asAdmin('DELETE', `/api/roles/${role.id}`)
  const found = await told()
  t.equal(found.length, 6)
  t.ok(found.every(({ action }) => /^(role|policy)\./.test(action)))

  const system = await asAdmin('POST', '/api/system-users', {
    name: 'Robot',
    role: 'Viewer',
    serviceType: 'ci',
  })
  await asAdmin('POST', `/api/system-users/${system.id}/rotate`, { graceDays: 0 })
  await asAdmin('POST', `/api/system-users/${system.id}/revoke-old`)
  await asAdmin('PATCH', `/api/system-users/${system.id}`, { name: 'Robot 2' })
  await asOperator('PATCH', `/platform/system-users/${system.id}`, { disabled: true })
  await asAdmin('DELETE', `/api/system-users/${system.id}`)
  t.strictSame(await actions(), [
    ...['system_user.created', 'system_user.secret_rotated', 'system_user.old_secrets_revoked'],
    ...['system_user.updated', 'system_user.updated', 'system_user.deleted'],
  ])
})

t.test('its own face and state, whoever changes them', async (t) => {
  await asAdmin('PATCH', '/api/tenant', { name: 'New name' })
  await asOperator('PATCH', `/platform/tenants/${tenantId}`, { name: 'Newer name' })
  await asOperator('POST', `/platform/tenants/${tenantId}/suspend`)
  t.match(await told(), [
    { action: 'tenant.updated', actor_kind: 'person' },
    { action: 'tenant.updated', actor_kind: 'platform_admin', actor_id: operator.personId },
    { action: 'tenant.suspended' },
  ])
  await asOperator('POST', `/platform/tenants/${tenantId}/resume`)
  await asOperator('DELETE', `/platform/tenants/${tenantId}`)
  await asOperator('POST', `/platform/tenants/${tenantId}/restore`)
  t.strictSame(await actions(), ['tenant.resumed', 'tenant.deleted', 'tenant.restored'])
})

t.test('system users of the platform, when they are let in, changed and taken out', async (t) => {
  const body = { name: 'Crawler', email: 'crawler@example.com', serviceType: 'ci' }
  const { id } = await asOperator('POST', '/platform/system-users', body)
  t.strictSame(await actions(), [])
  const place = `/platform/system-users/${id}/tenants/${tenantId}`
  await asOperator('PUT', place, { role: 'Viewer' })
  await asOperator('POST', `/platform/system-users/${id}/rotate`, { graceDays: 0 })
  await asOperator('DELETE', place)
  await asOperator('PUT', place, { role: 'Viewer' })
  await asOperator('DELETE', `/platform/system-users/${id}`)
  t.match(await told(), [
    {
      action: 'system_user.role_set',
      entity_id: id,
      actor_kind: 'platform_admin',
      actor_id: operator.personId,
    },
    { action: 'system_user.secret_rotated', entity_id: id },
    { action: 'system_user.role_taken' },
    { action: 'system_user.role_set' },
    { action: 'system_user.deleted' },
  ])
})
