import t from 'tap'
import { addMember, startFreehold } from '../../helpers/freehold.ts'
import { ownRole } from '../../helpers/own-role.ts'

const { call, service, signUp, newTenant, join } = await startFreehold(t)

t.test('a role of one tenant is given to nobody in another one', async (t) => {
  const [admin, other] = [await newTenant(), await newTenant()]
  const id = await ownRole(service, other.tenantId, 'Auditor', ['tenant-api:audit:read'])
  const { email } = await signUp()
  const second = await join(admin, 'Viewer')
  const unknown = { status: 404, body: { code: 'not_found' } }
  for (const role of [id, 'Auditor']) {
    const { token } = admin
    t.match(await call('POST', '/api/members', { token, body: { email, role } }), unknown)
    t.match(await call('PATCH', `/api/members/${second.personId}`, { token, body: { role } }), unknown)
    t.match(await call('POST', '/api/invitations', { token, body: { email, role } }), unknown)
  }
})

t.test('only the Admin that comes with Freehold keeps a tenant', async (t) => {
  const admin = await newTenant()
  const namesake = await ownRole(service, admin.tenantId, 'Admin', ['tenant-api:tenant:read'])
  const { personId } = await signUp()
  await addMember(service, admin.tenantId, personId, 'Viewer')
  await service.master.db
    .updateTable('memberships')
    .set({ role_id: namesake })
    .where('person_id', '=', personId)
    .execute()
  t.match(await call('POST', `/tenants/${admin.tenantId}/leave`, { token: admin.token }), {
    status: 409,
    body: { code: 'last_admin' },
  })
})

t.test(
  'a role that is deleted while it is given is given or not there; nobody waits in a circle',
  async (t) => {
    const admin = await newTenant()
    const { token } = admin
    for (let round = 0; round < 12; round += 1) {
      const id = await ownRole(service, admin.tenantId, `Round ${round}`, ['tenant-api:tenant:read'])
      const { email } = await signUp()
      const [given, deleted] = await Promise.all([
        call('POST', '/api/members', { token, body: { email, role: id } }),
        call('DELETE', `/api/roles/${id}`, { token }),
      ])
      t.match(`${given.status} ${deleted.status}`, /^(201 409|404 204)$/)
    }
  },
)
