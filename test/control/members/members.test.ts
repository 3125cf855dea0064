import t from 'tap'
import { addMember, type Member, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'
import { ownRole } from '../../helpers/own-role.ts'
import { until } from '../../helpers/until.ts'

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant, join } = freehold
const { db } = service.master

/** 16 Admins of one tenant. */
const admins = [await newTenant()]
while (admins.length < 16) admins.push(await join(admins[0] as Member, 'Admin'))
const [{ tenantId }] = admins as [Member]
const adminRole = await db
  .selectFrom('roles')
  .select('id')
  .where('name', '=', 'Admin')
  .executeTakeFirstOrThrow()

type Row = { userId: string; email: string; role: string; status: string }
const list = async (token: string, query = ''): Promise<Row[]> =>
  (await call('GET', `/api/members${query}`, { token })).body.data as unknown as Row[]

const patch = (by: Member, userId: string, body: unknown) =>
  call('PATCH', `/api/members/${userId}`, { token: by.token, body })
const remove = (by: Member, userId: string) => call('DELETE', `/api/members/${userId}`, { token: by.token })
const add = (by: Member, body: unknown) => call('POST', '/api/members', { token: by.token, body })

/** A member whose own role lets them keep members, and little else. */
const keeper = async (admin: Member): Promise<Member> => {
  const person = await join(admin, 'Basic')
  await ownRole(service, admin.tenantId, 'Keeper', ['tenant-api:tenant:read', 'tenant-api:member:*'])
  t.equal((await patch(admin, person.personId, { role: 'Keeper' })).status, 200)
  return person
}

t.test('members are listed, found and paged; system users are none of them', async (t) => {
  const admin = await newTenant()
  const [writer, viewer] = [await join(admin, 'Writer'), await join(admin, 'Viewer')]
  const operator = await signUp()
  await makePlatformAdmin(service, operator.personId)
  const system = await call('POST', '/platform/system-users', {
    token: operator.token,
    body: { name: 'Robot', email: `robot-${process.pid}@example.com`, serviceType: 'test' },
  })
  await addMember(service, admin.tenantId, String(system.body.id), 'Viewer')
  t.strictSame(
    (await list(viewer.token)).map(({ userId }) => userId),
    [viewer.personId, writer.personId, admin.personId],
  )
  t.match((await call('GET', `/api/members/${writer.personId}`, { token: viewer.token })).body, {
    userId: writer.personId,
    email: writer.email,
    emailVerified: false,
    role: 'Writer',
    status: 'active',
    createdAt: /Z$/,
  })
  t.match((await call('GET', `/api/members/${system.body.id}`, { token: viewer.token })).body, {
    code: 'not_found',
  })
  const first = await call('GET', '/api/members?limit=2', { token: viewer.token })
  const second = await call('GET', `/api/members?limit=2&cursor=${first.body.nextCursor}`, {
    token: viewer.token,
  })
  t.match([first.body, second.body], [{ data: { length: 2 } }, { data: { length: 1 }, nextCursor: null }])
})

t.test('a search finds parts of address and name, in any case, and no wildcard', async (t) => {
  const admin = await newTenant()
  const other = await join(admin, 'Viewer')
  await db
    .updateTable('people')
    .set({ first_name: 'Zoë', last_name: 'Under_score' })
    .where('id', '=', other.personId)
    .execute()
  for (const q of ['zoË', 'ë under_', other.email.toUpperCase().slice(0, 12), 'r_s']) {
    t.match(await list(admin.token, `?q=${encodeURIComponent(q)}`), [{ userId: other.personId }], q)
  }
  for (const q of ['%', 't_p', '\\', "' or true --"]) {
    t.strictSame(await list(admin.token, `?q=${encodeURIComponent(q)}`), [], q)
  }
  await patch(admin, other.personId, { status: 'inactive' })
  t.match(await list(admin.token, '?status=inactive'), [{ userId: other.personId }])
  t.equal((await call('GET', '/api/members?status=x', { token: admin.token })).status, 400)
})

t.test(
  'an existing person is added with a role; an unknown address gets the way to an invitation',
  async (t) => {
    const admin = await newTenant()
    const person = await signUp()
    const added = await add(admin, { email: person.email.toUpperCase(), role: 'Writer' })
    t.match(added, { status: 201, body: { userId: person.personId, role: 'Writer', status: 'active' } })
    t.match((await add(admin, { email: person.email, role: 'Viewer' })).body, { code: 'already_member' })
    t.match((await add(admin, { email: 'nobody@example.com', role: 'Viewer' })).body, {
      code: 'not_found',
      detail: /invitation/,
    })
    t.match((await add(admin, { email: person.email, role: 'Emperor' })).body, { code: 'not_found' })
    const disabled = await signUp()
    await db
      .updateTable('people')
      .set({ disabled_at: new Date() })
      .where('id', '=', disabled.personId)
      .execute()
    t.match((await add(admin, { email: disabled.email, role: 'Viewer' })).body, { code: 'not_found' })
    const roles = await db
      .selectFrom('roles')
      .selectAll()
      .where('name', '=', 'Basic')
      .executeTakeFirstOrThrow()
    const byId = await signUp()
    t.match((await add(admin, { email: byId.email, role: roles.id })).body, { role: 'Basic' })
  },
)

t.test('a role and a status change at once, and what was removed is refused at once', async (t) => {
  const admin = await newTenant()
  const member = await join(admin, 'Viewer')
  const create = () => call('POST', '/api/projects', { token: member.token, body: { name: 'P' } })
  t.equal((await create()).status, 403)
  t.match(await patch(admin, member.personId, { role: 'Writer' }), { status: 200, body: { role: 'Writer' } })
  t.equal((await create()).status, 201)
  t.match(await patch(admin, member.personId, { status: 'inactive' }), { body: { status: 'inactive' } })
  t.equal((await create()).status, 403)
  await patch(admin, member.personId, { status: 'active' })
  t.equal((await remove(admin, member.personId)).status, 204)
  t.equal((await create()).status, 403)
  t.match((await remove(admin, member.personId)).body, { code: 'not_found' })
  const refreshed = await call('POST', '/auth/refresh', { body: { refreshToken: member.refreshToken } })
  t.match((await call('GET', '/api/projects', { token: String(refreshed.body.accessToken) })).body, {
    code: 'tenant_required',
  })
})

t.test(
  'nobody gives a role that holds more than they do, nor changes or removes who holds more',
  async (t) => {
    const admin = await newTenant()
    const person = await keeper(admin)
    const [viewer, basic, outsider] = [
      await join(admin, 'Viewer'),
      await join(admin, 'Basic'),
      await signUp(),
    ]
    for (const role of ['Admin', 'Writer', 'Viewer']) {
      t.match((await add(person, { email: outsider.email, role })).body, { code: 'forbidden' }, `add ${role}`)
      t.match((await patch(person, basic.personId, { role })).body, { code: 'forbidden' }, `give ${role}`)
      t.match((await patch(person, person.personId, { role })).body, { code: 'forbidden' }, `take ${role}`)
    }
    for (const { personId } of [admin, viewer]) {
      t.match((await patch(person, personId, { role: 'Basic' })).body, { code: 'forbidden' })
      t.match((await patch(person, personId, { status: 'inactive' })).body, { code: 'forbidden' })
      t.match((await remove(person, personId)).body, { code: 'forbidden' })
    }
    t.equal((await add(person, { email: outsider.email, role: 'Basic' })).status, 201)
    t.equal((await patch(person, basic.personId, { role: 'Keeper' })).status, 200)
    t.equal((await remove(person, outsider.personId)).status, 204)
  },
)

t.test(
  'without the permission, without a token and in another tenant there is nothing to see or do',
  async (t) => {
    const [admin, other] = [await newTenant(), await newTenant()]
    const [viewer, basic] = [await join(admin, 'Viewer'), await join(admin, 'Basic')]
    t.equal((await call('GET', '/api/members', { token: basic.token })).status, 403)
    t.equal((await add(viewer, { email: basic.email, role: 'Basic' })).status, 403)
    t.equal((await patch(viewer, basic.personId, { role: 'Viewer' })).status, 403)
    t.equal((await remove(viewer, basic.personId)).status, 403)
    t.equal((await call('GET', '/api/members')).status, 401)
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const body = method === 'PATCH' ? { status: 'inactive' } : undefined
      const answer = await call(method, `/api/members/${viewer.personId}`, { token: other.token, body })
      t.match(answer.body, { code: 'not_found' }, method)
    }
    t.equal((await list(other.token)).length, 1)
  },
)

t.test('fields that are nobody’s to send are refused', async (t) => {
  const admin = await newTenant()
  const person = await signUp()
  const extra = ['tenantId', 'userId', 'personId', 'platformAdmin', 'id', 'createdAt', 'emailVerified']
  for (const field of extra) {
    const value = crypto.randomUUID()
    t.equal((await add(admin, { email: person.email, role: 'Basic', [field]: value })).status, 400, field)
    t.equal((await patch(admin, admin.personId, { status: 'active', [field]: value })).status, 400, field)
  }
  t.equal((await add(admin, { email: person.email, role: 'Basic', status: 'active' })).status, 400)
  t.equal((await patch(admin, admin.personId, {})).status, 400)
  t.equal((await patch(admin, admin.personId, { status: 'deleted' })).status, 400)
})

t.test('the last Admin can not leave, be removed, demoted or made inactive', async (t) => {
  const admin = await newTenant()
  const second = await join(admin, 'Admin')
  const refused = async (what: string): Promise<void> => {
    const self = admin.personId
    t.match((await patch(admin, self, { role: 'Writer' })).body, { status: 409, code: 'last_admin' }, what)
    for (const status of ['inactive', 'pending']) {
      t.match((await patch(admin, self, { status })).body, { status: 409, code: 'last_admin' }, what)
    }
    t.match((await remove(admin, self)).body, { status: 409, code: 'last_admin' }, what)
    const left = await call('POST', `/tenants/${admin.slug}/leave`, { token: admin.token })
    t.match(left.body, { status: 409, code: 'last_admin' }, what)
    t.match((await call('GET', '/auth/context', { token: admin.token })).body, { role: 'Admin' }, what)
  }
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', second.personId).execute()
  await refused('the other one is disabled')
  await db
    .updateTable('people')
    .set({ disabled_at: null, kind: 'system', password_hash: null })
    .where('id', '=', second.personId)
    .execute()
  await refused('the other one is a system user')
  await db.updateTable('people').set({ kind: 'person' }).where('id', '=', second.personId).execute()
  await patch(admin, second.personId, { status: 'inactive' })
  await refused('the other one is inactive')
  await patch(admin, second.personId, { status: 'active', role: 'Writer' })
  await refused('the other one is no Admin')
  await patch(admin, second.personId, { role: 'Admin' })
  t.equal((await call('POST', `/tenants/${admin.slug}/leave`, { token: admin.token })).status, 204)
})

t.test('an inactive Admin can be removed while another one is active', async (t) => {
  const admin = await newTenant()
  const second = await join(admin, 'Admin')
  await patch(admin, second.personId, { status: 'inactive' })
  t.equal((await remove(admin, second.personId)).status, 204)
})

t.test('who leaves is out at once', async (t) => {
  const admin = await newTenant()
  const member = await join(admin, 'Viewer')
  const leave = () => call('POST', `/tenants/${admin.tenantId}/leave`, { token: member.token })
  t.equal((await leave()).status, 204)
  t.equal((await call('GET', '/api/projects', { token: member.token })).status, 403)
  t.match((await leave()).body, { code: 'not_found' })
  t.match((await call('GET', '/auth/context', { token: member.token })).body, { tenants: [], tenant: null })
})

const races: [name: string, act: (by: Member, on: Member) => ReturnType<typeof call>][] = [
  ['16 Admins demoting each other at once', (by, on) => patch(by, on.personId, { role: 'Viewer' })],
  [
    '16 Admins making each other inactive at once',
    (by, on) => patch(by, on.personId, { status: 'inactive' }),
  ],
  ['16 Admins removing each other at once', (by, on) => remove(by, on.personId)],
  ['16 Admins leaving at once', (by) => call('POST', `/tenants/${by.tenantId}/leave`, { token: by.token })],
]
for (const [name, act] of races) {
  t.test(`${name} leave at least one`, async (t) => {
    await db.deleteFrom('memberships').where('tenant_id', '=', tenantId).execute()
    const all = admins.map(({ personId: person_id }) => ({
      tenant_id: tenantId,
      person_id,
      role_id: adminRole.id,
    }))
    await db.insertInto('memberships').values(all).execute()
    service.grants.forgetAll()
    const answers = await Promise.all(
      admins.map((by, n) => act(by, admins[(n + 1) % admins.length] as Member)),
    )
    const left = await db
      .selectFrom('memberships')
      .select('person_id')
      .where('tenant_id', '=', tenantId)
      .where('role_id', '=', adminRole.id)
      .where('status', '=', 'active')
      .execute()
    t.ok(left.length >= 1, `${left.length} left`)
    const done = answers.filter(({ status }) => status < 300).length
    t.equal(16 - done, left.length, 'each success took one Admin')
    const refusals = answers.filter(({ status }) => status >= 300).map(({ body }) => String(body.code))
    for (const code of refusals) t.match(code, /^(last_admin|forbidden|not_found)$/)
  })
}

t.test('who was demoted while they waited changes nothing any more', async (t) => {
  const admin = await newTenant()
  const [second, victim] = [await join(admin, 'Admin'), await join(admin, 'Viewer')]
  const waiting = await db.transaction().execute(async (trx) => {
    await trx.selectFrom('tenants').select('id').where('id', '=', admin.tenantId).forUpdate().execute()
    const answer = remove(second, victim.personId)
    await trx
      .updateTable('memberships')
      .set({ status: 'inactive' })
      .where('person_id', '=', second.personId)
      .execute()
    // The request has passed its guard when it waits for the row.
    await until(async () => {
      const { rowCount } = await service.master.pool.query('select from pg_locks where not granted')
      return rowCount !== 0
    })
    return { answer }
  })
  t.match((await waiting.answer).body, { code: 'forbidden' })
  t.equal((await list(admin.token)).length, 3)
})

t.test('every change of a membership is in the audit log', async (t) => {
  const admin = await newTenant()
  const person = await signUp()
  await add(admin, { email: person.email, role: 'Viewer' })
  await patch(admin, person.personId, { role: 'Writer' })
  await patch(admin, person.personId, { role: 'Emperor' })
  await remove(admin, person.personId)
  const entries = await db
    .selectFrom('audit_log')
    .select(['action', 'actor_id', 'request_id', 'details'])
    .where('tenant_id', '=', admin.tenantId)
    .where('entity_id', '=', person.personId)
    .orderBy('id')
    .execute()
  const who = { actor_id: admin.personId, request_id: String }
  t.match(entries, [
    { ...who, action: 'member.added' },
    { ...who, action: 'member.updated', details: { role: 'Writer', status: 'active' } },
    { ...who, action: 'member.removed' },
  ])
  t.equal(entries.length, 3)
})
