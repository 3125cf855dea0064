import { sql } from 'kysely'
import t from 'tap'
import { lockPlatformAdmins } from '../../../src/access/platform-admins.ts'
import { type Answer, type SignedIn, startFreehold } from '../../helpers/freehold.ts'
import { until } from '../../helpers/until.ts'

const { call, service, signUp, newTenant } = await startFreehold(t)
const { db } = service.master

const setAdmin = async (personId: string, platformAdmin: boolean): Promise<void> => {
  const people = db.updateTable('people').set({ platform_admin: platformAdmin })
  await people.where('id', '=', personId).execute()
  service.grants.forget(`person:${personId}`)
}
const newAdmin = async (): Promise<SignedIn> => {
  const person = await signUp()
  await setAdmin(person.personId, true)
  return person
}
const admin = await newAdmin()
const as =
  (person: SignedIn) =>
  (method: string, path: string, body?: unknown): Promise<Answer> =>
    call(method, `/platform${path}`, { token: person.token, body })
const asAdmin = as(admin)
const tenant = await newTenant()
const worksWith = async (token: string): Promise<boolean> =>
  (await call('GET', '/auth/context', { token })).status === 200
const ids = (answer: Answer): string[] =>
  (answer.body.data as unknown as { id: string }[]).map(({ id }) => id)
const auditOf = (entityId: string, action: string) =>
  db
    .selectFrom('audit_log')
    .selectAll()
    .where('entity_id', '=', entityId)
    .where('action', '=', action)
    .execute()
const system = await asAdmin('POST', '/system-users', {
  name: 'Billing',
  email: 'billing@example.com',
  serviceType: 'billing',
})
const systemId = String(system.body.id)
const unknown = '0198c0de-0000-7000-8000-000000000000'

t.test('every route is for platform admins alone', async (t) => {
  const routes = [
    ...['/users', `/users/${admin.personId}`, '/admins'].map((path) => ['GET', path] as const),
    ...['disable', 'enable', 'end-sessions'].map((verb) => ['POST', `/users/${unknown}/${verb}`] as const),
    ['POST', '/admins'] as const,
    ['DELETE', `/admins/${admin.personId}`] as const,
  ]
  for (const [method, path] of routes) {
    const body = method === 'POST' && path === '/admins' ? { userId: unknown } : undefined
    t.match((await as(tenant)(method, path, body)).body, { code: 'forbidden' }, path)
    t.match((await call(method, `/platform${path}`)).body, { code: 'unauthenticated' }, path)
  }
})

t.test('people are listed in pages, searched and filtered; system users are not among them', async (t) => {
  const [ada, bob] = [await signUp(), await signUp()]
  await db
    .updateTable('people')
    .set({ first_name: 'Ada_Q', last_name: 'Lovelace' })
    .where('id', '=', ada.personId)
    .execute()
  const first = await asAdmin('GET', '/users?limit=1')
  t.strictSame(ids(first), [bob.personId])
  const rest = await asAdmin('GET', `/users?limit=1&cursor=${first.body.nextCursor}`)
  t.strictSame(ids(rest), [ada.personId])
  t.notOk(ids(await asAdmin('GET', '/users')).includes(systemId))
  t.strictSame(ids(await asAdmin('GET', '/users?q=a_q%20LOVE')), [ada.personId])
  t.strictSame(ids(await asAdmin('GET', '/users?q=a%25')), [], 'what is typed is no pattern')
  t.strictSame(ids(await asAdmin('GET', `/users?q=${ada.email.toUpperCase()}`)), [ada.personId])
  t.strictSame(ids(await asAdmin('GET', `/users?email=${bob.email}`)), [bob.personId])
  t.strictSame(ids(await asAdmin('GET', '/users?platformAdmin=true')), [admin.personId])
  t.notOk(ids(await asAdmin('GET', '/users?platformAdmin=false')).includes(admin.personId))
  t.match((await asAdmin('GET', '/users?cursor=made-up')).body, { code: 'validation_failed' })
})

t.test('one person is shown with tenants and what is alive, and nothing secret', async (t) => {
  const answer = await asAdmin('GET', `/users/${tenant.personId}`)
  t.equal(answer.status, 200)
  t.match(answer.body, {
    id: tenant.personId,
    email: tenant.email,
    platformAdmin: false,
    disabled: false,
    disabledAt: null,
    tenantCount: 1,
    sessionCount: 1,
    lastUsedAt: /Z$/,
    tenants: [{ id: tenant.tenantId, slug: tenant.slug, role: 'Admin' }],
  })
  t.notMatch(answer.text, /password|hash/i)
  for (const id of [unknown, systemId]) {
    t.match((await asAdmin('GET', `/users/${id}`)).body, { code: 'not_found' })
    for (const verb of ['disable', 'enable', 'end-sessions']) {
      t.match((await asAdmin('POST', `/users/${id}/${verb}`)).body, { code: 'not_found' }, verb)
    }
    t.match((await asAdmin('POST', '/admins', { userId: id })).body, { code: 'not_found' })
    t.match((await asAdmin('DELETE', `/admins/${id}`)).body, { code: 'not_found' })
  }
})

t.test('disabling ends every session at once and keeps the person out until enabled', async (t) => {
  const person = await signUp()
  const signIn = () =>
    call('POST', '/auth/login', { body: { email: person.email, password: person.password } })
  const second = String((await signIn()).body.accessToken)
  t.ok((await worksWith(person.token)) && (await worksWith(second)))
  const path = `/users/${person.personId}`
  const answer = await asAdmin('POST', `${path}/disable`, { reason: 'left the company' })
  t.match(answer.body, { disabled: true, disabledAt: /Z$/, sessionCount: 0 })
  t.notOk((await worksWith(person.token)) || (await worksWith(second)))
  t.match((await signIn()).body, { code: 'invalid_credentials' })
  const body = { refreshToken: person.refreshToken }
  t.match((await call('POST', '/auth/refresh', { body })).body, { code: 'unauthenticated' })
  t.strictSame(ids(await asAdmin('GET', '/users?disabled=true')), [person.personId])
  t.equal((await asAdmin('POST', `${path}/disable`)).status, 200, 'again changes nothing')
  t.match(await auditOf(person.personId, 'person.disabled'), [
    { actor_kind: 'person', actor_id: admin.personId, details: { reason: 'left the company' } },
  ])
  t.match((await asAdmin('POST', `${path}/enable`)).body, { disabled: false, disabledAt: null })
  t.equal((await auditOf(person.personId, 'person.enabled')).length, 1)
  t.equal((await signIn()).status, 200)
  t.notOk(await worksWith(person.token), 'an ended session stays ended')
})

t.test('sessions can be ended without disabling', async (t) => {
  const person = await signUp()
  t.ok(await worksWith(person.token))
  t.strictSame((await asAdmin('POST', `/users/${person.personId}/end-sessions`)).body, { ended: 1 })
  t.notOk(await worksWith(person.token))
  t.equal((await auditOf(person.personId, 'person.sessions_ended')).length, 1)
  const body = { email: person.email, password: person.password }
  t.equal((await call('POST', '/auth/login', { body })).status, 200)
})

t.test('a person becomes a platform admin by id, or by an address that is proved, and stops', async (t) => {
  const [one, two] = [await signUp(), await signUp()]
  t.equal((await as(one)('GET', '/admins')).status, 403)
  t.match(await asAdmin('POST', '/admins', { userId: one.personId }), {
    status: 201,
    body: { id: one.personId, platformAdmin: true },
  })
  t.equal((await asAdmin('POST', '/admins', { userId: one.personId })).status, 200)
  t.equal((await as(one)('GET', '/admins')).status, 200, 'with the token they had')
  t.match((await asAdmin('POST', '/admins', { email: two.email })).body, { code: 'email_not_verified' })
  await db
    .updateTable('people')
    .set({ email_verified_at: new Date() })
    .where('id', '=', two.personId)
    .execute()
  t.equal((await asAdmin('POST', '/admins', { email: two.email.toUpperCase() })).status, 201)
  t.strictSame(ids(await asAdmin('GET', '/admins')).sort(), [admin, one, two].map((p) => p.personId).sort())
  for (const { personId } of [one, two]) {
    t.equal((await asAdmin('DELETE', `/admins/${personId}`)).status, 204)
    t.match((await asAdmin('DELETE', `/admins/${personId}`)).body, { code: 'not_found' })
    t.equal((await auditOf(personId, 'platform_admin.added')).length, 1)
    t.equal((await auditOf(personId, 'platform_admin.removed')).length, 1)
  }
  t.equal((await as(one)('GET', '/admins')).status, 403)
  await asAdmin('POST', `/users/${one.personId}/disable`)
  t.match((await asAdmin('POST', '/admins', { userId: one.personId })).body, { code: 'conflict' })
})

t.test('bodies with more than they name are refused', async (t) => {
  const { personId, email } = await signUp()
  for (const field of ['tenantId', 'role', 'status', 'platformAdmin', 'id', 'createdAt', 'disabled']) {
    const extra = { [field]: 'x' }
    for (const [path, body] of [
      ['/admins', { userId: personId }],
      [`/users/${personId}/disable`, {}],
    ] as const) {
      t.match((await asAdmin('POST', path, { ...body, ...extra })).body, { code: 'validation_failed' }, field)
    }
  }
  t.match((await asAdmin('POST', '/admins', { userId: personId, email })).body, { code: 'validation_failed' })
  t.match((await asAdmin('POST', '/admins', {})).body, { code: 'validation_failed' })
  t.match((await asAdmin('GET', `/users/${personId}`)).body, { platformAdmin: false, disabled: false })
})

t.test('someone who was made no admin while they waited for their turn does nothing more', async (t) => {
  const [late, victim] = [await newAdmin(), await newAdmin()]
  const turn = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const first = db.transaction().execute(async (trx) => {
    await lockPlatformAdmins(trx, admin.personId)
    held.resolve()
    await turn.promise
    await trx.updateTable('people').set({ platform_admin: false }).where('id', '=', late.personId).execute()
  })
  await held.promise
  const answer = as(late)('DELETE', `/admins/${victim.personId}`)
  await until(async () => {
    const waiting = sql`select from pg_locks where locktype = 'advisory' and not granted`
    return (await waiting.execute(db)).rows.length > 0
  })
  turn.resolve()
  await first
  t.match((await answer).body, { code: 'forbidden' })
  t.match((await asAdmin('GET', `/users/${victim.personId}`)).body, { platformAdmin: true })
  await setAdmin(victim.personId, false)
})

t.test('the last platform admin who can sign in can be neither removed nor disabled', async (t) => {
  const disabled = await newAdmin()
  t.equal((await asAdmin('POST', `/users/${disabled.personId}/disable`)).status, 200)
  t.match((await asAdmin('DELETE', `/admins/${admin.personId}`)).body, { status: 409, code: 'last_admin' })
  t.match((await asAdmin('POST', `/users/${admin.personId}/disable`)).body, { code: 'last_admin' })
  t.match((await asAdmin('GET', `/users/${admin.personId}`)).body, { platformAdmin: true, disabled: false })
  t.equal((await asAdmin('DELETE', `/admins/${disabled.personId}`)).status, 204)
})

t.test('of eight who remove and disable each other at once, one is left', async (t) => {
  const admins = [admin, ...(await Promise.all(Array.from({ length: 7 }, newAdmin)))]
  const pairs = admins.flatMap((by) => admins.filter((to) => to !== by).map((to) => ({ by, to })))
  const answers = await Promise.all(
    pairs.map(({ by, to }, i) =>
      i % 2 === 0
        ? as(by)('DELETE', `/admins/${to.personId}`)
        : as(by)('POST', `/users/${to.personId}/disable`),
    ),
  )
  const known = new Set(['forbidden', 'unauthenticated', 'not_found', 'last_admin'])
  for (const { status, body } of answers) t.ok(status < 300 || known.has(String(body.code)), `${body.code}`)
  const left = await db
    .selectFrom('people')
    .select('id')
    .where('platform_admin', '=', true)
    .where('disabled_at', 'is', null)
    .execute()
  t.equal(left.length, 1)
  // Whoever it is, the others' sessions and rights are gone.
  const works = await Promise.all(admins.map(async (p) => (await as(p)('GET', '/admins')).status))
  t.equal(works.filter((status) => status === 200).length, 1)
})
