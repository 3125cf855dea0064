import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { startFreehold } from '../../helpers/freehold.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, join, newTenant, service, signUp } = freehold
const { joinHolding } = accessHands(freehold)

const admin = await newTenant()
const basic = await join(admin, 'Basic')
const other = await newTenant()
const ask = (token: string | undefined, body: object) => call('POST', '/api/authorize', { token, body })
const permission = 'tenant-api:project:read'

t.test('everybody may ask about themselves', async (t) => {
  t.match(await ask(admin.token, { permission }), {
    status: 200,
    body: { allowed: true, reason: 'The role Admin has tenant-api:project:read.' },
  })
  t.match(await ask(basic.token, { permission }), {
    status: 200,
    body: { allowed: false, reason: 'The role Basic does not have tenant-api:project:read.' },
  })
  t.match(await ask(basic.token, { permission, userId: basic.personId }), { status: 200 })
  t.equal((await ask(undefined, { permission })).status, 401)
  t.match((await ask((await signUp()).token, { permission })).body, { code: 'tenant_required' })
})

t.test('asking about others needs member:read, and stays in the tenant', async (t) => {
  t.match(await ask(basic.token, { permission, userId: admin.personId }), {
    status: 403,
    body: { code: 'forbidden' },
  })
  const reader = await joinHolding(admin, ['tenant-api:member:read'])
  t.match(await ask(reader.token, { permission, userId: admin.personId }), { body: { allowed: true } })
  t.match(await ask(reader.token, { permission, userId: basic.personId }), { body: { allowed: false } })
  for (const userId of [other.personId, newId()]) {
    t.match(await ask(admin.token, { permission, userId }), { status: 404, body: { code: 'not_found' } })
  }
  const away = await join(admin, 'Admin')
  await service.master.db
    .updateTable('memberships')
    .set({ status: 'inactive' })
    .where('person_id', '=', away.personId)
    .execute()
  service.grants.forget(`membership:${admin.tenantId}:${away.personId}`)
  t.match(await ask(admin.token, { permission, userId: away.personId }), {
    status: 200,
    body: { allowed: false, reason: 'The membership is not active.' },
  })
})

t.test('a question that the catalogue does not know is refused', async (t) => {
  for (const wrong of ['tenant-api:project:paint', 'tenant-api:project:*', 'tenant-api:*', '', 7]) {
    t.match(await ask(admin.token, { permission: wrong }), {
      status: 400,
      body: { code: 'validation_failed', errors: [{ path: '/permission' }] },
    })
  }
  t.equal((await ask(admin.token, { permission, userId: 'me' })).status, 400)
})

t.test('up to a hundred questions at once, answered in their order', async (t) => {
  const batch = (token: string, checks: object[]) =>
    call('POST', '/api/authorize/batch', { token, body: { checks } })
  const mixed = [
    { permission },
    { permission, userId: basic.personId },
    { permission: 'tenant-api:role:delete' },
  ]
  const found = await batch(admin.token, mixed)
  t.match(found, {
    status: 200,
    body: { results: [{ allowed: true }, { allowed: false }, { allowed: true }] },
  })
  t.equal((await batch(admin.token, Array(100).fill({ permission }))).status, 200)
  for (const checks of [[], Array(101).fill({ permission }), [{ permission }, { permission: 'x' }]]) {
    t.match(await batch(admin.token, checks), { status: 400, body: { code: 'validation_failed' } })
  }
  const aboutAdmin = [{ permission }, { permission, userId: admin.personId }]
  t.equal((await batch(basic.token, aboutAdmin)).status, 403, 'one is about another')
  t.equal((await batch(admin.token, [{ permission }, { permission, userId: other.personId }])).status, 404)
})
