import t from 'tap'
import { makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'

const { call, service, signUp, newTenant } = await startFreehold(t)

t.test('platform admins see all tenants, in pages, with where their databases are', async (t) => {
  const tenants = [await newTenant(), await newTenant(), await newTenant()]
  const { token, personId } = await signUp()
  t.match((await call('GET', '/platform/tenants', { token })).body, { status: 403, code: 'forbidden' })
  await makePlatformAdmin(service, personId)
  const first = await call('GET', '/platform/tenants?limit=2', { token })
  t.match(first.body, {
    data: [
      { id: tenants[2]?.tenantId, status: 'active', database: /^t_[a-z2-7]{26}$/, cluster: 'default' },
      { id: tenants[1]?.tenantId },
    ],
    nextCursor: String,
  })
  const rest = await call('GET', `/platform/tenants?limit=2&cursor=${first.body.nextCursor}`, { token })
  t.match(rest.body, { data: [{ id: tenants[0]?.tenantId }], nextCursor: null })
})

t.test('a tenant Admin is no platform admin, and nobody is neither', async (t) => {
  const { token } = await newTenant()
  t.match((await call('GET', '/platform/tenants', { token })).body, { status: 403, code: 'forbidden' })
  t.match((await call('GET', '/platform/tenants')).body, { status: 401, code: 'unauthenticated' })
})
