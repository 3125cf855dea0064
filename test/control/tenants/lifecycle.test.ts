import { sql } from 'kysely'
import t from 'tap'
import { type Freehold, type Member, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { refusalOf } from '../../helpers/postgres.ts'

const mailbox = await openMailbox(t)
const freehold: Freehold = await startFreehold(t, mailbox.env)
const { call, service, signUp, newTenant, join, asSuperuser } = freehold
const { db } = service.master

const platformAdmin = async () => {
  const person = await signUp()
  await makePlatformAdmin(service, person.personId)
  return person
}
const change = (by: Member, body: unknown, path = '/api/tenant') =>
  call('PATCH', path, { token: by.token, body })
const remove = (by: Member) => call('DELETE', `/tenants/${by.slug}`, { token: by.token })
const actions = async (tenantId: string): Promise<string[]> => {
  const rows = await db
    .selectFrom('audit_log')
    .select('action')
    .where('action', 'not in', ['tenant.created', 'session.tenant_chosen'])
    .where('tenant_id', '=', tenantId)
    .where('entity_type', '=', 'tenant')
    .orderBy('id')
    .execute()
  return rows.map(({ action }) => action)
}

t.test(
  'a tenant is changed by both paths, its settings in its own database, with an entry on each side',
  async (t) => {
    const admin = await newTenant()
    const body = {
      name: 'New name',
      logoUrl: 'https://cdn.example.com/logo.png?size=2',
      settings: { theme: { dark: true }, ключ: ['ü'] },
      metadata: { size: 12 },
    }
    t.match(await change(admin, body), { status: 200, body })
    t.match((await change(admin, { settings: { a: 1 } }, `/tenants/${admin.slug}`)).body, {
      name: 'New name',
      settings: { a: 1 },
      metadata: { size: 12 },
    })
    t.strictSame(
      (await call('GET', '/api/tenant', { token: admin.token })).body.settings,
      { a: 1 },
      'taken the place',
    )
    t.match((await change(admin, { logoUrl: null })).body, { logoUrl: null })
    t.strictSame(await actions(admin.tenantId), ['tenant.updated', 'tenant.updated'])
    const inside = await asSuperuser(admin.tenantId, 'select action, actor_id from audit_log order by id')
    const entry = { action: 'tenant.settings_updated', actor_id: admin.personId }
    t.strictSame(inside, [entry, entry])
  },
)

t.test('what can not be kept, or is nobody’s to send, is refused', async (t) => {
  const admin = await newTenant()
  let deep: unknown = 1
  for (let n = 0; n < 40; n += 1) deep = [deep]
  const bad: Record<string, unknown>[] = [
    {},
    { name: ' ' },
    { name: null },
    ...[
      'http://x.example/a',
      'javascript:alert(1)',
      'https://user:pass@x.example',
      'https://',
      'data:image/png,x',
      '//x',
    ].map((logoUrl) => ({ logoUrl })),
    { settings: [] },
    { settings: 'x' },
    { settings: { a: 'x\u0000' } },
    { settings: { 'x\u0000': 1 } },
    { settings: { a: ['\ud800'] } },
    { metadata: { deep } },
    { metadata: { a: 'x'.repeat(70_000) } },
    ...[
      'slug',
      'status',
      'plan',
      'tier',
      'region',
      'id',
      'tenantId',
      'createdAt',
      'purgeAfter',
      'platformAdmin',
    ].map((field) => ({ name: 'x', [field]: 'active' })),
  ]
  for (const body of bad) {
    const { status } = await change(admin, body)
    t.equal(status, 400, JSON.stringify(body).slice(0, 60))
    t.equal((await change(admin, body, `/tenants/${admin.slug}`)).status, 400)
  }
  t.strictSame(await actions(admin.tenantId), [])
})

t.test('without the right, or in another tenant, nothing is changed or deleted', async (t) => {
  const [admin, other] = [await newTenant(), await newTenant()]
  const writer = await join(admin, 'Writer')
  t.equal((await change(writer, { name: 'x' })).status, 403)
  t.equal((await change(writer, { settings: {} }, `/tenants/${admin.slug}`)).status, 403)
  t.equal((await remove(writer)).status, 403)
  for (const method of ['PATCH', 'DELETE']) {
    const body = method === 'PATCH' ? { name: 'x' } : undefined
    const answer = await call(method, `/tenants/${admin.tenantId}`, { token: other.token, body })
    t.match(answer.body, { code: 'not_found' }, method)
  }
  t.equal((await call('DELETE', `/tenants/${admin.slug}`)).status, 401)
  t.strictSame(await asSuperuser(admin.tenantId, 'select from audit_log'), [])
  t.strictSame(await actions(admin.tenantId), [])
})

t.test(
  'a deleted tenant lets nobody in, answers the same when deleted again, and can be restored',
  async (t) => {
    const operator = await platformAdmin()
    const admin = await newTenant()
    const viewer = await join(admin, 'Viewer')
    const deleted = await remove(admin)
    t.match(deleted, { status: 202, body: { id: admin.tenantId, status: 'deleted', purgeAfter: /Z$/ } })
    const days = (Date.parse(String(deleted.body.purgeAfter)) - Date.now()) / 86_400_000
    t.ok(days > 29.9 && days <= 30)
    t.strictSame((await remove(admin)).body, deleted.body)
    t.match((await call('GET', '/api/projects', { token: viewer.token })).body, { code: 'gone' })
    t.match((await call('GET', `/tenants/${admin.slug}`, { token: viewer.token })).body, { code: 'gone' })
    const refreshed = await call('POST', '/auth/refresh', { body: { refreshToken: viewer.refreshToken } })
    t.match((await call('GET', '/api/projects', { token: String(refreshed.body.accessToken) })).body, {
      code: 'tenant_required',
    })
    await service.manager.purgeTenants()
    const at = (path = '') => `/platform/tenants/${admin.tenantId}${path}`
    t.match((await call('GET', at(), { token: operator.token })).body, {
      status: 'deleted',
      purgeAfter: deleted.body.purgeAfter,
    })
    t.match(await call('POST', at('/restore'), { token: operator.token }), {
      status: 200,
      body: { status: 'active', purgeAfter: null },
    })
    t.equal((await call('GET', '/api/projects', { token: viewer.token })).status, 200)
    t.match((await call('POST', at('/restore'), { token: operator.token })).body, { code: 'conflict' })
    t.strictSame(await actions(admin.tenantId), ['tenant.deleted', 'tenant.restored'])
  },
)

t.test(
  'a suspended tenant is closed until it is resumed, also to its own Admin, and is restored as it was',
  async (t) => {
    const operator = await platformAdmin()
    const admin = await newTenant()
    const post = (what: string) =>
      call('POST', `/platform/tenants/${admin.slug}/${what}`, { token: operator.token })
    t.match(await post('suspend'), { status: 200, body: { status: 'suspended' } })
    t.match((await post('suspend')).body, { status: 'suspended' }, 'again')
    t.match((await call('GET', '/api/projects', { token: admin.token })).body, { code: 'tenant_suspended' })
    t.match((await remove(admin)).body, { code: 'tenant_suspended' })
    t.equal((await call('DELETE', `/platform/tenants/${admin.slug}`, { token: operator.token })).status, 202)
    t.match((await post('resume')).body, { code: 'gone' })
    t.match((await post('restore')).body, { status: 'suspended' })
    t.match((await post('resume')).body, { status: 'active' })
    t.equal((await call('GET', '/api/projects', { token: admin.token })).status, 200)
    for (const what of ['suspend', 'resume', 'restore']) {
      t.equal(
        (await call('POST', `/platform/tenants/${admin.slug}/${what}`, { token: admin.token })).status,
        403,
      )
    }
    t.strictSame(await actions(admin.tenantId), [
      'tenant.suspended',
      'tenant.deleted',
      'tenant.restored',
      'tenant.resumed',
    ])
  },
)

t.test(
  'after the grace database, roles, secret and all that is known of a tenant are gone; a certificate stays',
  async (t) => {
    const operator = await platformAdmin()
    const admin = await newTenant()
    await call('POST', '/api/invitations', {
      token: admin.token,
      body: { email: 'x@example.com', role: 'Viewer' },
    })
    await call('POST', '/api/roles', { token: admin.token, body: { name: 'Own' } })
    const { name, id } = await db
      .selectFrom('tenants')
      .innerJoin('databases', 'databases.id', 'tenants.database_id')
      .select(['databases.name', 'databases.id'])
      .where('tenants.id', '=', admin.tenantId)
      .executeTakeFirstOrThrow()
    await remove(admin)
    const purge = await call('DELETE', `/platform/tenants/${admin.tenantId}?purge=true`, {
      token: operator.token,
    })
    t.equal(purge.status, 202)
    t.ok(Date.parse(String(purge.body.purgeAfter)) <= Date.now() + 1000)
    await service.manager.purgeTenants()
    const certificate = await db
      .selectFrom('erasures')
      .selectAll()
      .where('tenant_id', '=', admin.tenantId)
      .executeTakeFirst()
    t.match(certificate, {
      slug: admin.slug,
      database_id: id,
      database_name: name,
      cluster: 'default',
      deleted_at: Date,
      begun_at: Date,
      finished_at: Date,
    })
    for (const table of ['memberships', 'invitations', 'roles', 'policies', 'sessions'] as const) {
      t.strictSame(
        await db.selectFrom(table).select('tenant_id').where('tenant_id', '=', admin.tenantId).execute(),
        [],
        table,
      )
    }
    t.strictSame(await db.selectFrom('tenants').select('id').where('id', '=', admin.tenantId).execute(), [])
    t.strictSame(await db.selectFrom('databases').select('id').where('id', '=', id).execute(), [])
    t.equal(await refusalOf({ ...freehold.superuser, database: name }), '3D000')
    const { rows } = await service.master.pool.query("select 1 from pg_roles where rolname like $1 || '%'", [
      name,
    ])
    t.strictSame(rows, [])
    t.equal((await call('GET', `/platform/tenants/${admin.tenantId}`, { token: operator.token })).status, 404)
    t.match((await call('GET', '/platform/erasures', { token: operator.token })).body, {
      data: [{ tenantId: admin.tenantId, slug: admin.slug, databaseName: name, finishedAt: /Z$/ }],
    })
    t.equal((await call('GET', '/api/projects', { token: admin.token })).status, 403)
    t.strictSame(await actions(admin.tenantId), ['tenant.deleted', 'tenant.purge_ordered', 'tenant.purged'])
    await service.manager.refillSpares()
    const again = await call('POST', '/tenants', {
      token: admin.token,
      body: { name: 'Again', slug: admin.slug },
    })
    t.equal(again.status, 201, 'its slug is free')
  },
)

t.test('everything in the master that belongs to a tenant goes with it', async (t) => {
  const { rows } = await service.master.pool.query(
    `select conrelid::regclass::text as table from pg_constraint
      where confrelid = 'tenants'::regclass and contype = 'f' and confdeltype not in ('c', 'n')`,
  )
  t.strictSame(rows, [], 'a foreign key to tenants says on delete cascade, or set null')
})

t.test(
  'a tenant that never had a database is purged, and one that waits for it can be restored',
  async (t) => {
    const operator = await platformAdmin()
    await db.updateTable('databases').set({ status: 'retired' }).where('status', '=', 'spare').execute()
    const { token } = await signUp()
    const at = async (): Promise<string> => {
      const { body } = await call('POST', '/tenants', { token, body: { name: 'Pending' } })
      t.equal(body.status, 'pending')
      return `/platform/tenants/${body.id}`
    }
    const restored = await at()
    await call('DELETE', restored, { token: operator.token })
    // What a worker has done meanwhile: there was nothing to build for.
    await sql`delete from graphile_worker._private_jobs`.execute(db)
    t.match((await call('POST', `${restored}/restore`, { token: operator.token })).body, {
      status: 'pending',
    })
    const { rows: jobs } = await sql`
      select key from graphile_worker.jobs where key like 'provision-tenant:%'`.execute(db)
    t.match(jobs, [{ key: `provision-tenant:${restored.split('/').at(-1)}` }], 'it is built after all')
    await service.manager.provisionTenant(restored.split('/').at(-1) ?? '')
    t.match((await call('GET', restored, { token: operator.token })).body, { status: 'active' })
    const purged = await at()
    await call('DELETE', `${purged}?purge=true`, { token: operator.token })
    await service.manager.purgeTenants()
    t.equal((await call('GET', purged, { token: operator.token })).status, 404)
    await service.manager.refillSpares()
  },
)

t.test('a managed tenant has no member until its Admin accepts the invitation', async (t) => {
  const operator = await platformAdmin()
  await service.manager.refillSpares()
  const guest = await signUp()
  await db
    .updateTable('people')
    .set({ email_verified_at: new Date() })
    .where('id', '=', guest.personId)
    .execute()
  const create = (body: unknown, token = operator.token) => call('POST', '/platform/tenants', { token, body })
  const made = await create({ name: 'Managed', slug: 'managed', adminEmail: guest.email })
  t.match(made, { status: 201, body: { slug: 'managed', status: 'active' } })
  const members = () =>
    db.selectFrom('memberships').select('person_id').where('tenant_id', '=', String(made.body.id)).execute()
  t.strictSame(await members(), [])
  const link = (await mailbox.receive(service, guest.email)).findLast(
    ({ subject }) => subject === 'You are invited',
  )
  const accepted = await call('POST', `/invitations/${link?.token}/accept`, { token: guest.token })
  t.match(accepted, { status: 200, body: { tenant: { slug: 'managed', role: 'Admin' } } })
  t.match((await create({ name: 'Managed', slug: 'managed', adminEmail: guest.email })).body, {
    code: 'slug_taken',
  })
  t.equal((await create({ name: 'M', slug: 'm', adminEmail: guest.email }, guest.token)).status, 403)
  for (const field of ['status', 'id', 'personId', 'platformAdmin', 'createdAt', 'role']) {
    t.equal(
      (await create({ name: 'M', slug: 'm', adminEmail: guest.email, [field]: 'x' })).status,
      400,
      field,
    )
  }
  const lost = await create({ name: 'Lost', slug: 'lost', adminEmail: 'lost@example.com' })
  t.equal(lost.status < 300, true)
  const token = (await mailbox.receive(service, 'lost@example.com')).at(-1)?.token
  await db.updateTable('people').set({ platform_admin: false }).where('id', '=', operator.personId).execute()
  t.match(
    (await call('GET', `/invitations/${token}`)).body,
    { code: 'gone' },
    'its giver is no platform admin any more',
  )
})

t.test('platform admins rename, and a slug stays with one tenant', async (t) => {
  const operator = await platformAdmin()
  const [one, two] = [await newTenant(), await newTenant()]
  const patch = (body: unknown) =>
    call('PATCH', `/platform/tenants/${one.tenantId}`, { token: operator.token, body })
  t.match(await patch({ name: 'Renamed', slug: 'renamed' }), {
    status: 200,
    body: { name: 'Renamed', slug: 'renamed' },
  })
  t.match((await patch({ slug: two.slug })).body, { code: 'slug_taken' })
  for (const body of [{ slug: one.tenantId }, { slug: 'A' }, { status: 'deleted' }, { plan: 'x' }, {}]) {
    t.equal((await patch(body)).status, 400)
  }
  t.match((await call('GET', '/tenants/renamed', { token: one.token })).body, { name: 'Renamed' })
})

t.test('deleted, restored, suspended and purged at once, a tenant ends whole or gone', async (t) => {
  const operator = await platformAdmin()
  const problems = async () =>
    (await service.manager.inspect()).filter(({ severity }) => severity === 'problem')
  const before = await problems()
  for (let round = 0; round < 3; round += 1) {
    const admin = await newTenant()
    const url = `/platform/tenants/${admin.tenantId}`
    const ask = (method: string, path: string) => call(method, `${url}${path}`, { token: operator.token })
    const purge = () => service.manager.purgeTenants()
    await ask('DELETE', '')
    const answers = await Promise.all([
      ask('DELETE', '?purge=true').then((answer) => purge().then(() => answer)),
      ...['restore', 'suspend', 'restore', 'resume', 'restore'].map((name) => ask('POST', `/${name}`)),
      ask('DELETE', '?purge=true').then((answer) => purge().then(() => answer)),
      ask('DELETE', ''),
      ...['restore', 'restore'].map((name) => ask('POST', `/${name}`)),
    ])
    for (const { status, text } of answers) t.ok([200, 202, 403, 404, 409, 410].includes(status), text)
    await purge()
    const tenant = await db
      .selectFrom('tenants')
      .selectAll()
      .where('id', '=', admin.tenantId)
      .executeTakeFirst()
    const certificate = await db
      .selectFrom('erasures')
      .selectAll()
      .where('tenant_id', '=', admin.tenantId)
      .executeTakeFirst()
    if (tenant === undefined) t.ok(certificate?.finished_at, 'gone, with its certificate')
    else {
      t.equal(certificate, undefined, 'whole')
      t.ok(tenant.database_id)
      t.equal((await asSuperuser(admin.tenantId, 'select from settings')).length, 1)
      t.equal(tenant.status === 'deleted', tenant.restore_to !== null && tenant.purge_after !== null)
    }
    t.strictSame(await problems(), before)
  }
})
