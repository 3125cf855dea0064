import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, newTenant, service } = freehold
const { joinHolding, newPolicy, newRole, setRole } = accessHands(freehold)
const { db } = service.master

const managing = ['role', 'policy'].flatMap((entity) =>
  ['read', 'create', 'update'].map((action) => `tenant-api:${entity}:${action}`),
)
const [read, run] = ['tenant-api:project:read', 'tenant-api:job:run']
const forbidden = { status: 403, body: { code: 'forbidden', detail: /Nobody grants what they do not hold/ } }

const systemPolicy = async (name: string): Promise<string> =>
  (
    await db
      .selectFrom('policies')
      .select('id')
      .where('name', '=', name)
      .where('tenant_id', 'is', null)
      .executeTakeFirstOrThrow()
  ).id

/** Everything that roles and policies hold. */
const links = async () => [
  await db.selectFrom('roles').select('id').orderBy('id').execute(),
  await db.selectFrom('policies').select('id').orderBy('id').execute(),
  await db.selectFrom('role_policies').selectAll().orderBy('role_id').orderBy('policy_id').execute(),
  await db.selectFrom('policy_permissions').selectAll().orderBy('policy_id').orderBy('permission').execute(),
]

t.test('nobody grants what they do not hold, by whichever way', async (t) => {
  const admin = await newTenant()
  const { token, policyId, roleId } = await joinHolding(admin, [...managing, read])
  const less = await newPolicy(admin.token, [read])
  const more = await newPolicy(admin.token, [read, run])
  const [empty, big] = [await newRole(admin.token), await newRole(admin.token, [more])]
  const shared = await newPolicy(admin.token, [])
  await call('PUT', `/api/roles/${big}/policies/${shared}`, { token: admin.token })
  const everything = await systemPolicy('Admin')
  const before = await links()
  const ways = [
    ['a permission', 'PUT', `/api/policies/${less}/permissions/${run}`],
    ['a wildcard of which they hold a part', 'PUT', `/api/policies/${less}/permissions/tenant-api:project:*`],
    ['everything', 'PUT', `/api/policies/${less}/permissions/tenant-api:*`],
    ['to their own policy', 'PUT', `/api/policies/${policyId}/permissions/${run}`],
    ['everything, to their own policy', 'PUT', `/api/policies/${policyId}/permissions/tenant-api:*`],
    [
      'what they hold, to a policy that holds more',
      'PUT',
      `/api/policies/${more}/permissions/${managing[0]}`,
    ],
    [
      'what they hold, to a policy of a role that has more',
      'PUT',
      `/api/policies/${shared}/permissions/${read}`,
    ],
    ['a policy', 'PUT', `/api/roles/${empty}/policies/${more}`],
    ['a system-wide policy', 'PUT', `/api/roles/${empty}/policies/${everything}`],
    ['a policy, to their own role', 'PUT', `/api/roles/${roleId}/policies/${more}`],
    ['a system-wide policy, to their own role', 'PUT', `/api/roles/${roleId}/policies/${everything}`],
    ['what they hold, to a role that has more', 'PUT', `/api/roles/${big}/policies/${less}`],
    ['a new role', 'POST', '/api/roles', { name: 'New', policies: [less, more] }],
    ['a new policy', 'POST', '/api/policies', { name: 'New', permissions: [read, run] }],
    ['a new policy with a wildcard', 'POST', '/api/policies', { name: 'New', permissions: ['tenant-api:*'] }],
  ] as const
  for (const [way, method, url, body] of ways)
    t.match(await call(method, url, { token, body }), forbidden, way)
  t.strictSame(await links(), before)
  const allowed = [
    ['PUT', `/api/policies/${less}/permissions/tenant-api:role:read`],
    ['PUT', `/api/roles/${empty}/policies/${less}`],
    ['POST', '/api/roles', { name: 'New', policies: [less] }],
    ['POST', '/api/policies', { name: 'New', permissions: managing }],
    ['DELETE', `/api/policies/${more}/permissions/${run}`],
    ['PUT', `/api/policies/${shared}/permissions/${read}`],
  ] as const
  for (const [method, url, body] of allowed) {
    const { status, text } = await call(method, url, { token, body })
    t.ok([201, 204].includes(status), `${url}: ${text}`)
  }
})

t.test('what they have just lost, they no longer grant, whatever is remembered', async (t) => {
  const admin = await newTenant()
  const { token, policyId } = await joinHolding(admin, [...managing, read])
  const target = await newPolicy(admin.token)
  // Nobody is told, as if the news were still on its way.
  const forget = service.grants.forget
  service.grants.forget = () => {}
  t.teardown(() => {
    service.grants.forget = forget
  })
  t.equal((await call('GET', '/api/roles', { token })).status, 200)
  await db
    .deleteFrom('policy_permissions')
    .where('policy_id', '=', policyId)
    .where('permission', '=', read)
    .execute()
  t.match(await call('PUT', `/api/policies/${target}/permissions/${read}`, { token }), forbidden)
  service.grants.forget = forget
  service.grants.forgetAll()
})

t.test('two changes at once never add up to what neither of the two may grant', async (t) => {
  const admin = await newTenant()
  const reader = await joinHolding(admin, [...managing, read])
  const runner = await joinHolding(admin, [...managing, run])
  const rounds = 15
  let granted = 0
  for (let round = 0; round < rounds; round += 1) {
    const role = await newRole(admin.token, [await newPolicy(admin.token, [read])])
    const policy = await newPolicy(admin.token)
    const answers = await Promise.all([
      call('PUT', `/api/roles/${role}/policies/${policy}`, { token: reader.token }),
      call('PUT', `/api/policies/${policy}/permissions/${run}`, { token: runner.token }),
    ])
    granted += answers.filter(({ status }) => status === 204).length
    t.strictSame(answers.map(({ status }) => status).sort(), [204, 403])
  }
  t.equal(granted, rounds)
})

t.test('who loses their role while they grant has granted before, or is refused', async (t) => {
  const admin = await newTenant()
  const none = await newRole(admin.token)
  const target = await newPolicy(admin.token)
  for (let round = 0; round < 8; round += 1) {
    const member = await joinHolding(admin, [...managing, read])
    const url = `/api/policies/${target}/permissions/${read}`
    await Promise.all([call('PUT', url, { token: member.token }), setRole(member, none)])
    const { status } = await call('PUT', url, { token: member.token })
    t.equal(status, 403, 'afterwards')
    await call('DELETE', url, { token: admin.token })
  }
})
