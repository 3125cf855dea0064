import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant } = freehold

const create = (token: string | undefined, body: unknown) => call('POST', '/tenants', { token, body })

t.test('with a spare ready, a tenant is active at once and its maker is its Admin', async (t) => {
  await service.manager.refillSpares()
  const { token } = await signUp()
  const answer = await create(token, { name: 'Müller & Söhne' })
  t.equal(answer.status, 201, answer.text)
  t.match(answer.body, {
    id: String,
    slug: 'muller-sohne',
    name: 'Müller & Söhne',
    status: 'active',
    plan: 'free',
    region: 'local',
    tier: 'shared',
    logoUrl: null,
    settings: {},
    metadata: {},
    createdAt: /Z$/,
  })
  t.equal(answer.headers.location, `/tenants/${answer.body.id}`)
  const context = await call('GET', '/auth/context', { token })
  t.match(context.body, { tenants: [{ slug: 'muller-sohne', role: 'Admin', status: 'active' }] })
})

t.test('without a spare the tenant is pending, and its status can be followed', async (t) => {
  await service.master.db
    .updateTable('databases')
    .set({ status: 'retired' })
    .where('status', '=', 'spare')
    .execute()
  const { token } = await signUp()
  const answer = await create(token, { name: 'Later', slug: 'later' })
  t.equal(answer.status, 202, answer.text)
  t.match(answer.body, { status: 'pending', settings: null })
  t.equal(answer.headers.location, `/tenants/${answer.body.id}/status`)
  t.match((await call('GET', String(answer.headers.location), { token })).body, { status: 'pending' })
  t.match((await call('POST', '/auth/switch', { token, body: { tenant: 'later' } })).body, {
    code: 'tenant_not_ready',
  })
  await service.manager.provisionTenant(String(answer.body.id))
  t.match((await call('GET', '/tenants/later/status', { token })).body, { status: 'active' })
  t.equal((await call('POST', '/auth/switch', { token, body: { tenant: 'later' } })).status, 200)
})

t.test('a slug belongs to one tenant', async (t) => {
  const { slug, token } = await newTenant()
  t.match((await create(token, { name: 'Other', slug })).body, { status: 409, code: 'slug_taken' })
})

t.test('a slug made from the name gives way when it is taken', async (t) => {
  await service.manager.refillSpares()
  const { token } = await signUp()
  const [first, second] = [
    await create(token, { name: 'Same name' }),
    await create(token, { name: 'Same name' }),
  ]
  t.equal(first.body.slug, 'same-name')
  t.match(second.body.slug, /^same-name-[a-z0-9]{5}$/)
})

const bad: [name: string, body: unknown][] = [
  ['no name', {}],
  ['an empty name', { name: '' }],
  ['a slug with capitals', { name: 'A', slug: 'Acme' }],
  ['a slug that would be SQL', { name: 'A', slug: 'a"; drop table tenants; --' }],
  ['a slug that looks like an id', { name: 'A', slug: '018f0000-0000-7000-8000-000000000000' }],
  ['an unknown plan', { name: 'A', plan: 'platinum' }],
  ['a region where we are not', { name: 'A', region: 'atlantis' }],
  ['a status', { name: 'A', status: 'active' }],
  ['an owner', { name: 'A', personId: '018f0000-0000-7000-8000-000000000000' }],
]
for (const [name, body] of bad) {
  t.test(`POST /tenants refuses ${name}`, async (t) => {
    const { token } = await signUp()
    t.match((await create(token, body)).body, { status: 400, code: 'validation_failed' })
  })
}

t.test('POST /tenants is for signed-in people', async (t) => {
  t.match((await create(undefined, { name: 'A' })).body, { status: 401, code: 'unauthenticated' })
})

t.test("I see my tenants, by id and by slug, and nobody else's", async (t) => {
  const [mine, other] = [await newTenant(), await newTenant()]
  const list = await call('GET', '/tenants', { token: mine.token })
  t.match(list.body, { data: [{ id: mine.tenantId, settings: {} }], nextCursor: null })
  t.equal((list.body.data as unknown as unknown[]).length, 1)
  for (const key of [mine.tenantId, mine.slug]) {
    t.match((await call('GET', `/tenants/${key}`, { token: mine.token })).body, { id: mine.tenantId })
  }
  for (const path of ['', '/status']) {
    for (const key of [other.tenantId, other.slug, 'no-such-tenant']) {
      const { body } = await call('GET', `/tenants/${key}${path}`, { token: mine.token })
      t.match(body, { status: 404, code: 'not_found' })
    }
  }
  t.match((await call('GET', '/tenants')).body, { status: 401 })
})

t.test('my tenants come in pages', async (t) => {
  await service.manager.refillSpares()
  const { token } = await signUp()
  const slugs: string[] = []
  for (const name of ['One', 'Two', 'Three']) slugs.unshift(String((await create(token, { name })).body.slug))
  const first = await call('GET', '/tenants?limit=2', { token })
  const second = await call('GET', `/tenants?limit=2&cursor=${first.body.nextCursor}`, { token })
  const seen = [first, second].flatMap(({ body }) =>
    (body.data as unknown as { slug: string }[]).map((x) => x.slug),
  )
  t.strictSame(seen, slugs)
  t.equal(second.body.nextCursor, null)
})

t.test("a tenant's settings are read from its own database, and nowhere in the master", async (t) => {
  const member = await newTenant()
  await freehold.asSuperuser(member.tenantId, `update settings set settings = '{"colour":"canary-yellow"}'`)
  const { body } = await call('GET', `/tenants/${member.slug}`, { token: member.token })
  t.match(body, { settings: { colour: 'canary-yellow' } })
})

const spoiled = [
  "update settings set settings = '[1]', metadata = '\"x\"'",
  'delete from settings',
  'alter table settings rename to lost',
]
for (const sql of spoiled) {
  t.test(`a tenant whose settings are spoiled keeps nobody out: ${sql}`, async (t) => {
    const { tenantId, slug, token, email, password } = await newTenant()
    await freehold.asSuperuser(tenantId, sql)
    const tenant = { slug, settings: null, metadata: null }
    t.match((await call('GET', '/tenants', { token })).body, { data: [tenant] })
    t.match((await call('GET', '/auth/context', { token })).body, { tenant, role: 'Admin' })
    t.match((await call('POST', '/auth/login', { body: { email, password } })).body, { tenant })
  })
}

t.test('a deleted tenant is gone: from the lists, by id, and from the place of a session', async (t) => {
  const { token, tenantId } = await newTenant()
  const set = (status: 'active' | 'suspended' | 'deleted') =>
    service.master.db.updateTable('tenants').set({ status }).where('id', '=', tenantId).execute()
  await set('suspended')
  t.match((await call('GET', '/auth/context', { token })).body, {
    tenant: null,
    role: null,
    permissions: [],
    tenants: [{ status: 'suspended' }],
  })
  t.match((await call('GET', `/tenants/${tenantId}`, { token })).body, {
    status: 'suspended',
    settings: null,
  })
  await set('deleted')
  t.strictSame((await call('GET', '/tenants', { token })).body.data, [])
  t.match((await call('GET', '/auth/context', { token })).body, { tenant: null, role: null, tenants: [] })
  for (const path of ['', '/status']) {
    const { body } = await call('GET', `/tenants/${tenantId}${path}`, { token })
    t.match(body, { status: 410, code: 'gone' })
  }
  await set('active')
})

t.test('who is not an active member sees nothing of the tenant and may do nothing in it', async (t) => {
  const admin = await newTenant()
  const member = await freehold.join(admin, 'Writer')
  const { token, personId } = member
  for (const status of ['inactive', 'pending'] as const) {
    await service.master.db
      .updateTable('memberships')
      .set({ status })
      .where('person_id', '=', personId)
      .execute()
    service.grants.forget(`membership:${admin.tenantId}:${personId}`)
    t.strictSame((await call('GET', '/tenants', { token })).body.data, [], status)
    t.match((await call('GET', `/tenants/${admin.slug}`, { token })).body, { code: 'not_found' })
    t.match((await call('GET', '/api/projects', { token })).body, { code: 'forbidden' })
    t.match((await call('GET', '/auth/context', { token })).body, { tenant: null, tenants: [] })
  }
})

t.test('who made an account and who made a tenant is in the audit log, with the request', async (t) => {
  const { personId, tenantId } = await newTenant()
  const entries = await service.master.db
    .selectFrom('audit_log')
    .select(['action', 'actor_kind', 'actor_id', 'entity_id', 'address', 'request_id'])
    .where('actor_id', '=', personId)
    .where('action', 'in', ['person.registered', 'tenant.created'])
    .orderBy('id')
    .execute()
  const who = { actor_kind: 'person', actor_id: personId, address: '127.0.0.1', request_id: String }
  t.match(entries, [
    { ...who, action: 'person.registered', entity_id: personId },
    { ...who, action: 'tenant.created', entity_id: tenantId },
  ])
})
