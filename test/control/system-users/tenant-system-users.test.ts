import t from 'tap'
import { type Answer, type Member, makePlatformAdmin, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'

const postgres = await startTestPostgres(t)
const node = await startNode(t, postgres)
const { call, service } = node
const { db } = service.master
const acme = await node.newTenant()
const globex = await node.newTenant()
const path = '/api/system-users'

const as =
  (member: Pick<Member, 'token'>) =>
  (method: string, url: string, body?: unknown): Promise<Answer> =>
    call(method, `${path}${url}`, { token: member.token, body })
const asAcme = as(acme)
const asGlobex = as(globex)

const wishes = { name: 'Importer', role: 'Viewer', serviceType: 'import' }
const create = async (more: object = {}, by = asAcme) => {
  const answer = await by('POST', '', { ...wishes, ...more })
  if (answer.status !== 201) throw new Error(answer.text)
  return {
    id: String(answer.body.id),
    email: String(answer.body.email),
    secret: String(answer.body.clientSecret),
  }
}
type Made = Awaited<ReturnType<typeof create>>
const askToken = ({ id, secret }: Made) =>
  call('POST', '/auth/token', {
    body: { grant_type: 'client_credentials', client_id: id, client_secret: secret },
  })
const tokenOf = async (made: Made): Promise<string> => String((await askToken(made)).body.access_token)

/** A member of acme whose role holds exactly these permissions. */
const memberWith = async (...permissions: string[]): Promise<Member> => {
  const member = await node.join(acme, 'Basic')
  const name = `Role of ${member.email}`
  const [role, policy] = [crypto.randomUUID(), crypto.randomUUID()]
  await db.transaction().execute(async (trx) => {
    const tenant_id = acme.tenantId
    await trx.insertInto('roles').values({ id: role, tenant_id, name }).execute()
    await trx.insertInto('policies').values({ id: policy, tenant_id, name }).execute()
    await trx
      .insertInto('policy_permissions')
      .values(permissions.map((permission) => ({ policy_id: policy, permission })))
      .execute()
    await trx.insertInto('role_policies').values({ role_id: role, policy_id: policy }).execute()
    await trx
      .updateTable('memberships')
      .set({ role_id: role })
      .where('person_id', '=', member.personId)
      .execute()
  })
  const { grants } = service
  await until(async () => (await grants.grant(acme.tenantId, member.personId))?.role === name)
  return member
}
const all = 'tenant-api:system-user:*'

t.test('an Admin makes one with a role; it works in the tenant, by either way of signing in', async (t) => {
  const answer = await asAcme('POST', '', { ...wishes, metadata: { owner: 'ada' } })
  t.equal(answer.status, 201)
  t.match(answer.body, {
    name: 'Importer',
    email: /@system-users\.invalid$/,
    role: 'Viewer',
    tenantId: acme.tenantId,
    metadata: { owner: 'ada' },
    clientSecret: /^fhs_/,
  })
  const made = {
    id: String(answer.body.id),
    email: String(answer.body.email),
    secret: String(answer.body.clientSecret),
  }
  const token = await tokenOf(made)
  t.equal((await call('GET', '/api/projects', { token })).status, 200)
  t.equal((await call('POST', '/api/projects', { token, body: { name: 'x' } })).status, 403)
  const login = await call('POST', '/auth/login', { body: { email: made.email, password: made.secret } })
  t.match(login.body, { tenant: { id: acme.tenantId }, role: 'Viewer' })
  const shown = await asAcme('GET', `/${made.id}`)
  t.match(shown.body, { id: made.id, lastUsedAt: /Z$/ })
  t.notMatch(shown.text, /fhs_/)
  const list = await asAcme('GET', '?limit=1')
  t.match(list.body, { data: [{ id: made.id }] })
  t.notMatch(list.text, /fhs_/)
})

t.test(
  'it is changed, rotated, revoked, disabled and deleted, each with an entry of the tenant',
  async (t) => {
    const made = await create()
    const token = await tokenOf(made)
    t.match((await asAcme('PATCH', `/${made.id}`, { name: 'Loader', role: 'Writer' })).body, {
      name: 'Loader',
      role: 'Writer',
    })
    t.equal((await call('POST', '/api/projects', { token, body: { name: 'x' } })).status, 201, 'at once')
    const rotated = await asAcme('POST', `/${made.id}/rotate`, { graceDays: 3 })
    const fresh = { ...made, secret: String(rotated.body.clientSecret) }
    t.equal((await askToken(made)).status, 200)
    t.strictSame((await asAcme('POST', `/${made.id}/revoke-old`)).body, { revoked: 1 })
    t.equal((await askToken(made)).status, 401)
    const last = await tokenOf(fresh)
    t.match((await asAcme('PATCH', `/${made.id}`, { disabled: true })).body, { disabled: true })
    t.equal((await call('GET', '/api/projects', { token: last })).status, 401)
    t.equal((await askToken(fresh)).status, 401)
    await asAcme('PATCH', `/${made.id}`, { disabled: false })
    t.equal((await call('GET', '/api/projects', { token: last })).status, 401, 'its old token stays dead')
    const again = await tokenOf(fresh)
    t.equal((await asAcme('DELETE', `/${made.id}`)).status, 204)
    t.equal((await call('GET', '/api/projects', { token: again })).status, 401)
    t.equal((await asAcme('GET', `/${made.id}`)).status, 404)
    const rows = await db
      .selectFrom('audit_log')
      .select(['action', 'actor_id', 'tenant_id'])
      .where('entity_id', '=', made.id)
      .where('actor_kind', '=', 'person')
      .orderBy('id')
      .execute()
    const actions = [
      'created',
      'updated',
      'secret_rotated',
      'old_secrets_revoked',
      'updated',
      'updated',
      'deleted',
    ]
    t.strictSame(
      rows,
      actions.map((action) => ({
        action: `system_user.${action}`,
        actor_id: acme.personId,
        tenant_id: acme.tenantId,
      })),
    )
  },
)

t.test('what another tenant or the platform keeps is not there', async (t) => {
  const admin = await node.signUp()
  await makePlatformAdmin(service, admin.personId)
  const asPlatform = (method: string, url: string, body?: unknown) =>
    call(method, `/platform/system-users${url}`, { token: admin.token, body })
  const platform = await asPlatform('POST', '', {
    name: 'P',
    email: 'platform@example.com',
    serviceType: 'p',
  })
  const ofPlatform = String(platform.body.id)
  t.equal((await asPlatform('PUT', `/${ofPlatform}/tenants/${acme.slug}`, { role: 'Viewer' })).status, 204)
  const foreign = await create({}, asGlobex)
  for (const id of [ofPlatform, foreign.id, acme.personId, crypto.randomUUID()]) {
    for (const [method, url, body] of [
      ['GET', `/${id}`],
      ['PATCH', `/${id}`, { name: 'Mine' }],
      ['PATCH', `/${id}`, { role: 'Viewer' }],
      ['PATCH', `/${id}`, { disabled: true }],
      ['DELETE', `/${id}`],
      ['POST', `/${id}/rotate`, { graceDays: 0 }],
      ['POST', `/${id}/revoke-old`],
    ] as const) {
      t.match((await asAcme(method, url, body)).body, { status: 404, code: 'not_found' }, `${method} ${url}`)
    }
  }
  const { body } = await asAcme('GET', '?limit=100')
  const seen = (body.data as unknown as { id: string; tenantId: string }[]).map(({ tenantId }) => tenantId)
  t.ok(seen.length > 0)
  t.ok(seen.every((tenantId) => tenantId === acme.tenantId))
  t.equal((await askToken(foreign)).status, 200, 'nothing happened to it')
  t.match((await asPlatform('PUT', `/${foreign.id}/tenants/${acme.slug}`, { role: 'Viewer' })).body, {
    status: 409,
    code: 'conflict',
  })
  const { id: role_id } = await db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'Viewer')
    .where('tenant_id', 'is', null)
    .executeTakeFirstOrThrow()
  await t.rejects(
    db
      .insertInto('memberships')
      .values({ tenant_id: acme.tenantId, person_id: foreign.id, role_id })
      .execute(),
    /cannot be a member of another/,
    'nor by any other way',
  )
  t.match((await asPlatform('GET', `/${foreign.id}`)).body, { tenantId: globex.tenantId, role: 'Viewer' })
})

t.test('nobody gives a role that holds more than they do, nor gets the secret of one', async (t) => {
  const strong = await create({ role: 'Admin' })
  const helper = await memberWith(all, 'tenant-api:tenant:read')
  const asHelper = as(helper)
  t.match((await asHelper('POST', '', { ...wishes, role: 'Viewer' })).body, {
    status: 403,
    code: 'forbidden',
  })
  const weak = await create({ role: 'Basic' }, asHelper)
  t.match((await asHelper('PATCH', `/${weak.id}`, { role: 'Admin' })).body, {
    status: 403,
    code: 'forbidden',
  })
  t.equal((await asHelper('PATCH', `/${weak.id}`, { role: 'Basic', name: 'Weak' })).status, 200)
  t.equal((await asHelper('POST', `/${weak.id}/rotate`, { graceDays: 0 })).status, 200)
  t.match((await asHelper('POST', `/${strong.id}/rotate`, { graceDays: 1 })).body, {
    status: 403,
    code: 'forbidden',
  })
  t.equal(
    (await asHelper('PATCH', `/${strong.id}`, { disabled: true })).status,
    200,
    'to take away is allowed',
  )
  t.match((await asHelper('POST', '', { ...wishes, role: 'Nonesuch' })).body, { status: 404 })
  const roles = await db.selectFrom('roles').select('id').where('tenant_id', '=', acme.tenantId).execute()
  const foreignRole = await asGlobex('POST', '', { ...wishes, role: roles[0]?.id ?? '' })
  t.match(foreignRole.body, { status: 404, code: 'not_found' }, "another tenant's role")
})

t.test('each route asks for its own permission; system users may use them as well', async (t) => {
  const target = await create({ role: 'Basic' })
  const calls = [
    ['read', 'GET', '', undefined],
    ['read', 'GET', `/${target.id}`, undefined],
    ['create', 'POST', '', { ...wishes, role: 'Basic' }],
    ['update', 'PATCH', `/${target.id}`, { name: 'New' }],
    ['update', 'POST', `/${target.id}/rotate`, { graceDays: 1 }],
    ['update', 'POST', `/${target.id}/revoke-old`, undefined],
    ['delete', 'DELETE', `/${target.id}`, undefined],
  ] as const
  const actions = ['read', 'create', 'update', 'delete'] as const
  for (const missing of actions) {
    const others = actions
      .filter((action) => action !== missing)
      .map((action) => `tenant-api:system-user:${action}`)
    const member = as(await memberWith(...others, 'tenant-api:tenant:read'))
    for (const [action, method, url, body] of calls) {
      if (action !== missing) continue
      t.match((await member(method, url, body)).body, { status: 403, code: 'forbidden' }, `${method} ${url}`)
      t.equal((await call(method, `${path}${url}`, { body })).status, 401)
    }
  }
  const program = as({ token: await tokenOf(await create({ role: 'Admin' })) })
  t.equal((await program('POST', '', { ...wishes, role: 'Admin' })).status, 201)
  t.equal((await asAcme('PATCH', `/${target.id}`, {})).status, 400)
  for (const extra of [
    { email: 'ceo@example.com' },
    { tenantId: globex.tenantId },
    { platformAdmin: true },
  ]) {
    t.equal((await asAcme('POST', '', { ...wishes, ...extra })).status, 400)
  }
})
