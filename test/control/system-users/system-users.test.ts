import { sql } from 'kysely'
import t from 'tap'
import { type Answer, makePlatformAdmin, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const node = await startNode(t, postgres)
const other = await startNode(t, postgres)
const { call, signUp, newTenant, service } = node
const { db } = service.master

const admin = await signUp()
await makePlatformAdmin(service, admin.personId)
const asAdmin = (method: string, path: string, body?: unknown): Promise<Answer> =>
  call(method, `/platform/system-users${path}`, { token: admin.token, body })

type Made = { id: string; email: string; secret: string }
let made = 0
const create = async (): Promise<Made> => {
  made += 1
  const email = `billing-${made}@example.com`
  const body = { name: 'Billing', email, serviceType: 'billing', metadata: { owner: 'ada' } }
  const answer = await asAdmin('POST', '', body)
  t.equal(answer.status, 201)
  return { id: String(answer.body.id), email, secret: String(answer.body.clientSecret) }
}

const askToken = (client: { id: string; secret: string }, more: object = {}) =>
  call('POST', '/auth/token', {
    body: { grant_type: 'client_credentials', client_id: client.id, client_secret: client.secret, ...more },
  })
const tokenOf = async (client: Made): Promise<string> => String((await askToken(client)).body.access_token)
const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
const worksWith = async (token: string, at = node): Promise<boolean> =>
  (await at.call('GET', '/auth/context', { token })).status === 200

t.test(
  'client credentials give a token for 24 hours with flags of its own, and no refresh token',
  async (t) => {
    const system = await create()
    const { status, body } = await askToken(system)
    t.equal(status, 200)
    t.strictSame(Object.keys(body).sort(), ['access_token', 'expires_in', 'token_type'])
    t.match(body, { expires_in: 86_400, token_type: 'Bearer' })
    const claims = claimsOf(String(body.access_token))
    t.match(claims, { kind: 'system', service_type: 'billing', sub: system.id, jti: String, sid: String })
    t.equal(Number(claims.exp) - Number(claims.iat), 86_400)
    t.match((await asAdmin('GET', `/${system.id}`)).body, { metadata: { owner: 'ada' }, lastUsedAt: /Z$/ })
  },
)

t.test('a form, Basic credentials and the email in place of the id work as well', async (t) => {
  const { id, email, secret } = await create()
  const ask = (form: string, headers: Record<string, string> = {}) =>
    node.app.inject({
      method: 'POST',
      url: '/auth/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      payload: form,
    })
  const basic = (user: string) => ({
    authorization: `Basic ${Buffer.from(`${encodeURIComponent(user)}:${secret}`).toString('base64')}`,
  })
  const grant = 'grant_type=client_credentials'
  const whole = `${grant}&client_id=${id}&client_secret=${secret}`
  t.equal((await ask(whole)).statusCode, 200)
  t.equal((await ask(grant, basic(id))).statusCode, 200)
  t.equal((await ask(grant, basic(email))).statusCode, 200)
  t.equal((await askToken({ id: email, secret })).status, 200)
  t.match((await ask(whole, basic(id))).json(), { status: 400, error: 'invalid_request' })
  t.match((await ask(`${whole}&client_id=${id}`)).json(), { status: 400, error: 'invalid_request' })
  t.match((await ask(`grant_type=password&client_id=${id}&client_secret=${secret}`)).json(), {
    status: 400,
    error: 'unsupported_grant_type',
  })
})

t.test('a wrong secret, another one’s and an unknown id get the same answer', async (t) => {
  const [one, two] = [await create(), await create()]
  const answers = [
    await askToken({ id: one.id, secret: two.secret }),
    await askToken({ id: one.id, secret: `${one.secret.slice(0, -1)}~` }),
    await askToken({ id: crypto.randomUUID(), secret: one.secret }),
    await askToken({ id: 'nobody@example.com', secret: one.secret }),
  ]
  for (const { body } of answers) {
    t.match(body, { status: 401, code: 'invalid_credentials', error: 'invalid_client' })
    t.strictSame({ ...body, requestId: '' }, { ...answers[0]?.body, requestId: '' })
  }
})

t.test(
  'after a rotation both secrets work until the grace ends; then the old one and its sessions are gone',
  async (t) => {
    const old = await create()
    const before = await tokenOf(old)
    const rotated = await asAdmin('POST', `/${old.id}/rotate`, { graceDays: 7 })
    const fresh = { ...old, secret: String(rotated.body.clientSecret) }
    t.equal((await askToken(old)).status, 200)
    t.equal((await askToken(fresh)).status, 200)
    t.match((await asAdmin('GET', `/${old.id}`)).body, {
      secrets: [{ expiresAt: null }, { expiresAt: /Z$/ }],
    })
    const after = await tokenOf(fresh)
    t.ok(await worksWith(before))
    await sql`update system_user_secrets set expires_at = now() where expires_at is not null`.execute(db)
    t.equal((await askToken(old)).status, 401, 'at the end itself, before any job')
    await service.accountTasks['tidy-access']({})
    t.match((await asAdmin('GET', `/${old.id}`)).body.secrets, [{ expiresAt: null }])
    await t.resolves(untilRefused(before))
    t.ok(await worksWith(after))
  },
)

/** Resolves when the token is refused on the other node too. */
const untilRefused = async (token: string): Promise<void> => {
  while ((await worksWith(token)) || (await worksWith(token, other))) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('revoke-old ends the grace, and the tokens of the old secret, on every node', async (t) => {
  const old = await create()
  const before = await tokenOf(old)
  t.ok(await worksWith(before, other))
  const rotated = await asAdmin('POST', `/${old.id}/rotate`, { graceDays: 30 })
  const after = await tokenOf({ ...old, secret: String(rotated.body.clientSecret) })
  t.strictSame((await asAdmin('POST', `/${old.id}/revoke-old`)).body, { revoked: 1 })
  t.equal((await askToken(old)).status, 401)
  t.notOk(await worksWith(before), 'at once here')
  await t.resolves(untilRefused(before))
  t.ok(await worksWith(after))
})

t.test(
  'a rotation without grace leaves one secret; a disabled or deleted system user gets nothing',
  async (t) => {
    const old = await create()
    const rotated = await asAdmin('POST', `/${old.id}/rotate`, { graceDays: 0 })
    const fresh = { ...old, secret: String(rotated.body.clientSecret) }
    t.equal((await askToken(old)).status, 401)
    const token = await tokenOf(fresh)
    t.match((await asAdmin('PATCH', `/${old.id}`, { disabled: true })).body, { disabled: true })
    t.notOk(await worksWith(token))
    t.equal((await askToken(fresh)).status, 401)
    t.match((await asAdmin('PATCH', `/${old.id}`, { disabled: false })).body, { disabled: false })
    const again = await tokenOf(fresh)
    t.equal((await asAdmin('DELETE', `/${old.id}`)).status, 204)
    t.notOk(await worksWith(again))
    t.equal((await askToken(fresh)).status, 401)
    t.equal((await asAdmin('GET', `/${old.id}`)).status, 404)
  },
)

t.test('in a tenant it may do what its role grants there, and nothing elsewhere', async (t) => {
  const system = await create()
  const [mine, foreign] = [await newTenant(), await newTenant()]
  const setRole = (role: string) => asAdmin('PUT', `/${system.id}/tenants/${mine.slug}`, { role })
  t.equal((await setRole('Nonesuch')).status, 404)
  t.equal((await setRole('Viewer')).status, 204)
  const token = await tokenOf(system)
  t.equal(claimsOf(token).tid, mine.tenantId)
  t.equal((await call('GET', '/api/projects', { token })).status, 200)
  const write = () => call('POST', '/api/projects', { token, body: { name: 'From a program' } })
  t.equal((await write()).status, 403)
  await setRole('Writer')
  while ((await write()).status !== 201) await new Promise((resolve) => setTimeout(resolve, 20))
  t.match((await askToken(system, { tenant: foreign.slug })).body, { status: 404, code: 'not_found' })
  t.equal((await asAdmin('DELETE', `/${system.id}/tenants/${mine.slug}`)).status, 204)
  while ((await write()).status !== 403) await new Promise((resolve) => setTimeout(resolve, 20))
})

t.test('email and secret give the same token at the login, and no refresh token', async (t) => {
  const system = await create()
  const { slug, tenantId } = await newTenant()
  await asAdmin('PUT', `/${system.id}/tenants/${slug}`, { role: 'Viewer' })
  const login = (body: object, headers = {}) => call('POST', '/auth/login', { body, headers })
  const { status, body } = await login({ email: system.email, password: system.secret })
  t.equal(status, 200)
  t.match(body, {
    user: { id: system.id, platformAdmin: false },
    tenant: { id: tenantId },
    role: 'Viewer',
    tokenType: 'Bearer',
    expiresIn: 86_400,
  })
  t.notOk('refreshToken' in body)
  t.match(claimsOf(String(body.accessToken)), { kind: 'system', sub: system.id, tid: tenantId })
  t.equal((await call('GET', '/api/projects', { token: String(body.accessToken) })).status, 200)
  const foreign = await newTenant()
  const elsewhere = { email: system.email, password: system.secret, tenant: foreign.slug }
  t.match((await login(elsewhere)).body, { status: 404, code: 'not_found' })

  const other = await create()
  const person = await signUp()
  const wrong = [
    { email: system.email, password: `${system.secret.slice(0, -1)}~` },
    { email: system.email, password: other.secret },
    { email: system.email, password: 'correct horse battery' },
    { email: person.email, password: system.secret },
    { email: 'nobody@example.com', password: system.secret },
    { email: system.email, password: person.password },
  ]
  for (const credentials of wrong) {
    const answer = await login(credentials)
    t.match(answer.body, { status: 401, code: 'invalid_credentials' })
    t.strictSame({ ...answer.body, requestId: '' }, { ...(await login(wrong[4] ?? {})).body, requestId: '' })
  }
  const inCookies = await login(
    { email: system.email, password: system.secret },
    { 'x-auth-mode': 'cookie', origin: 'http://localhost:4000' },
  )
  t.match(inCookies.body, { code: 'validation_failed', errors: [{ path: '/x-auth-mode' }] })
  t.notMatch(inCookies.text, 'ccessToken')
  t.notOk(inCookies.headers['set-cookie'])
  const guessed = await login(
    { email: system.email, password: other.secret },
    { 'x-auth-mode': 'cookie', origin: 'http://localhost:4000' },
  )
  t.match(
    guessed.body,
    { status: 401, code: 'invalid_credentials' },
    'who does not know the secret learns nothing',
  )
  await asAdmin('PATCH', `/${system.id}`, { disabled: true })
  t.equal((await login({ email: system.email, password: system.secret })).status, 401)
})

t.test(
  'at the login wrong secrets are throttled as wrong passwords are, for known and unknown',
  async (t) => {
    const strict = await startNode(t, postgres, { RATE_LIMITS: 'on' })
    const system = await create()
    for (const email of [system.email, 'unknown-program@example.com']) {
      const guess = () =>
        strict.call('POST', '/auth/login', { body: { email, password: `fhs_${'a'.repeat(43)}` } })
      for (let n = 0; n < 5; n += 1) t.equal((await guess()).status, 401)
      t.match((await guess()).body, { status: 429, code: 'rate_limited' })
    }
    t.equal(
      (await strict.call('POST', '/auth/login', { body: { email: system.email, password: system.secret } }))
        .status,
      429,
    )
  },
)

t.test('two rotations at once come one after the other: one newest secret, and both are good', async (t) => {
  const old = await create()
  const answers = await Promise.all(
    [1, 2, 3].map(() => asAdmin('POST', `/${old.id}/rotate`, { graceDays: 1 })),
  )
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200, 200],
  )
  for (const { body } of answers)
    t.equal((await askToken({ id: old.id, secret: String(body.clientSecret) })).status, 200)
  const { rows } = await sql<{ n: number }>`select count(*)::int as n from system_user_secrets
    where system_user_id = ${old.id} and expires_at is null`.execute(db)
  t.strictSame(rows, [{ n: 1 }])
})

t.test('a grace is never made longer, and a session of an old secret ends with it', async (t) => {
  const old = await create()
  await tokenOf(old)
  await asAdmin('POST', `/${old.id}/rotate`, { graceDays: 1 })
  await asAdmin('POST', `/${old.id}/rotate`, { graceDays: 90 })
  const { rows } = await sql<{ late: number }>`select count(*)::int as late from system_user_secrets
    where system_user_id = ${old.id} and expires_at > now() + interval '2 days'`.execute(db)
  t.strictSame(rows, [{ late: 1 }], 'only the second one')
  await sql`update system_user_secrets set expires_at = now() + interval '1 hour'
    where system_user_id = ${old.id} and expires_at < now() + interval '2 days'`.execute(db)
  const last = await tokenOf(old)
  const { sid } = claimsOf(last)
  const sessions = await sql<{ soon: boolean }>`select expires_at < now() + interval '61 minutes' as soon
    from sessions where id = ${sid}`.execute(db)
  t.strictSame(sessions.rows, [{ soon: true }])
})

t.test('it has no account: account and platform routes, passwords and mails are for people', async (t) => {
  const system = await create()
  const token = await tokenOf(system)
  const own = node.routes.filter(({ access }) => access.scope === 'account' && access.systemUsers !== true)
  t.ok(own.length > 5)
  for (const { method, path } of own) {
    const { body } = await call(method, path.replaceAll(/:\w+/g, 'x'), { token })
    t.match(body, { status: 403, code: 'forbidden' }, `${method} ${path}`)
  }
  t.equal((await call('GET', '/platform/tenants', { token })).status, 403)
  t.equal((await call('POST', '/auth/refresh', { body: { refreshToken: system.secret } })).status, 401)
  t.equal((await call('GET', '/auth/context', { token: system.secret })).status, 401)
  t.equal((await call('POST', '/auth/logout', { token })).status, 204)
  t.notOk(await worksWith(token))
  await t.rejects(
    db.updateTable('people').set({ platform_admin: true }).where('id', '=', system.id).execute(),
    /people_system_user_check/,
  )
})

t.test('only platform admins keep them; bad input is refused; a list shows no secret', async (t) => {
  const system = await create()
  const person = await signUp()
  for (const [method, path] of [
    ['GET', ''],
    ['POST', ''],
    ['GET', `/${system.id}`],
    ['PATCH', `/${system.id}`],
    ['DELETE', `/${system.id}`],
    ['POST', `/${system.id}/rotate`],
    ['POST', `/${system.id}/revoke-old`],
    ['PUT', `/${system.id}/tenants/x`],
    ['DELETE', `/${system.id}/tenants/x`],
  ] as const) {
    const url = `/platform/system-users${path}`
    t.equal((await call(method, url, { token: person.token })).status, 403, `${method} ${path}`)
    t.equal((await call(method, url)).status, 401, `${method} ${path}`)
  }
  for (const body of [
    { name: 'x', email: 'a@b.example' },
    { name: 'x', email: 'nonsense', serviceType: 'x' },
    { name: 'x', email: 'a@b.example', serviceType: 'x', platformAdmin: true },
    { name: 'x', email: 'a@b.example', serviceType: 'x', metadata: { deep: {} } },
  ]) {
    t.match((await asAdmin('POST', '', body)).body, { status: 400, code: 'validation_failed' })
  }
  const taken = { name: 'x', email: person.email, serviceType: 'x' }
  t.match((await asAdmin('POST', '', taken)).body, { status: 409, code: 'email_taken' })
  t.equal((await asAdmin('POST', `/${system.id}/rotate`, { graceDays: 91 })).status, 400)
  t.equal((await asAdmin('POST', `/${person.personId}/rotate`, { graceDays: 1 })).status, 404)
  t.equal((await asAdmin('DELETE', `/${person.personId}`)).status, 404)
  t.equal((await asAdmin('PATCH', `/${person.personId}`, { disabled: true })).status, 404)
  t.equal((await call('GET', '/auth/me', { token: person.token })).status, 200, 'a person is left alone')
  const list = await asAdmin('GET', '?limit=1')
  t.match(list.body, { data: [{ id: system.id, serviceType: 'billing' }], nextCursor: String })
  t.notMatch(list.text, /fhs_/)
})

t.test('every change and sign-in is in the audit log; no secret is in the master', async (t) => {
  const system = await create()
  await askToken(system)
  await askToken({ ...system, secret: 'wrong' })
  await asAdmin('POST', `/${system.id}/rotate`, { graceDays: 1 })
  const rows = await db.selectFrom('audit_log').select('action').where('entity_id', '=', system.id).execute()
  t.strictSame(rows.map(({ action }) => action).sort(), [
    'system_user.created',
    'system_user.secret_rotated',
    'system_user.signed_in',
  ])
  const { rows: dump } = await sql<{ line: string }>`
    select row_to_json(s)::text as line from system_user_secrets s
    union all select row_to_json(u)::text from system_users u
    union all select row_to_json(a)::text from audit_log a`.execute(db)
  t.notMatch(dump.map(({ line }) => line).join(), new RegExp(system.secret.slice(4)))
})
