import { sql } from 'kysely'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'

const mailbox = await openMailbox(t)
const { call, service, signUp } = await startFreehold(t, mailbox.env)
const { db } = service.master

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
type Session = { id: string; current: boolean }
const login = (person: { email: string; password: string }, userAgent?: string) =>
  call('POST', '/auth/login', {
    body: { email: person.email, password: person.password },
    ...(userAgent === undefined ? {} : { headers: { 'user-agent': userAgent } }),
  })
const list = async (token: string, query = ''): Promise<Session[]> =>
  (await call('GET', `/auth/sessions${query}`, { token })).body.data as unknown as Session[]
const end = (token: string, id: string) => call('DELETE', `/auth/sessions/${id}`, { token })
const context = (token: unknown) => call('GET', '/auth/context', { token: String(token) })
const refresh = (refreshToken: unknown) => call('POST', '/auth/refresh', { body: { refreshToken } })

t.test('sessions are listed with device, address, last use and proof, newest first', async (t) => {
  const person = await signUp()
  await login(person, firefox)
  t.match(await list(person.token), [
    { device: 'Firefox on Linux', userAgent: firefox, address: '127.0.0.1', current: false, amr: ['pwd'] },
    { current: true, lastUsedAt: /Z$/, authenticatedAt: /Z$/, expiresAt: /Z$/ },
  ])
})

t.test('a list longer than a page goes on where it stopped', async (t) => {
  const person = await signUp()
  await login(person)
  await login(person)
  const first = await call('GET', '/auth/sessions?limit=2', { token: person.token })
  const rest = await list(person.token, `?limit=2&cursor=${String(first.body.nextCursor)}`)
  t.equal((first.body.data as unknown as Session[]).length, 2)
  t.match(rest, [{ current: true }])
})

t.test('last use is the last refresh, from where it came', async (t) => {
  const { token, refreshToken, personId } = await signUp()
  await sql`update sessions set last_used_at = now() - interval '1 day' where person_id = ${personId}`.execute(
    db,
  )
  await call('POST', '/auth/refresh', { body: { refreshToken }, headers: { 'user-agent': firefox } })
  const [session] = (await list(token)) as unknown as { lastUsedAt: string; device: string }[]
  t.equal(session?.device, 'Firefox on Linux')
  t.ok(Date.now() - Date.parse(session?.lastUsedAt ?? '') < 3_600_000)
})

t.test(
  'an ended session is refused at once, access token and refresh token, and the others go on',
  async (t) => {
    const person = await signUp()
    const { body } = await login(person)
    t.equal((await context(body.accessToken)).status, 200)
    const other = (await list(person.token)).find(({ current }) => !current)
    t.equal((await end(person.token, other?.id ?? '')).status, 204)
    t.match((await context(body.accessToken)).body, { status: 401, code: 'unauthenticated' })
    t.match((await refresh(body.refreshToken)).body, { status: 401, code: 'unauthenticated' })
    t.equal((await context(person.token)).status, 200)
    t.equal((await end(person.token, other?.id ?? '')).status, 404, 'there is nothing to end twice')
  },
)

t.test("somebody else's session is not found, and goes on", async (t) => {
  const [mine, other] = [await signUp(), await signUp()]
  const [theirs] = await list(other.token)
  t.match((await end(mine.token, theirs?.id ?? '')).body, { status: 404, code: 'not_found' })
  t.equal((await context(other.token)).status, 200)
})

t.test('logout-all ends every session, this one too', async (t) => {
  const person = await signUp()
  const { body } = await login(person)
  t.equal((await call('POST', '/auth/logout-all', { token: person.token })).status, 204)
  for (const token of [person.token, body.accessToken]) t.equal((await context(token)).status, 401)
  for (const token of [person.refreshToken, body.refreshToken]) t.equal((await refresh(token)).status, 401)
  const reasons = await db
    .selectFrom('sessions')
    .select('end_reason')
    .where('person_id', '=', person.personId)
    .execute()
  t.strictSame(new Set(reasons.map((row) => row.end_reason)), new Set(['logout']))
})

t.test('a session that idles ends, one that is used goes on until its absolute end', async (t) => {
  const [idle, used] = [await signUp(), await signUp()]
  const age = (personId: string, column: 'idle_expires_at' | 'expires_at', by: string) =>
    sql`update sessions set ${sql.ref(column)} = ${sql.ref(column)} - ${by}::interval where person_id = ${personId}`.execute(
      db,
    )
  await age(idle.personId, 'idle_expires_at', '14 days')
  t.match((await refresh(idle.refreshToken)).body, { status: 401, code: 'unauthenticated' })
  t.match((await call('GET', '/auth/sessions', { token: idle.token })).body, { status: 401 })

  await age(used.personId, 'idle_expires_at', '13 days')
  const first = await refresh(used.refreshToken)
  t.equal(first.status, 200)
  await age(used.personId, 'idle_expires_at', '13 days')
  const second = await refresh(first.body.refreshToken)
  t.equal(second.status, 200, 'each use begins the idle time anew')
  await age(used.personId, 'expires_at', '30 days')
  t.equal((await refresh(second.body.refreshToken)).status, 401)
  t.equal((await context(second.body.accessToken)).status, 401)
})

for (const [method, url] of [
  ['GET', '/auth/sessions'],
  ['DELETE', '/auth/sessions/018f0000-0000-7000-8000-000000000000'],
  ['POST', '/auth/logout-all'],
] as const) {
  t.test(`${method} ${url} is for signed-in people`, async (t) => {
    t.match((await call(method, url)).body, { status: 401, code: 'unauthenticated' })
  })
}

t.test(
  'a sign-in from where one was never seen is told by mail, the first and the known ones are not',
  async (t) => {
    const person = await signUp()
    const news = async () =>
      (await mailbox.receive(service, person.email)).filter(({ subject }) => /new device/.test(subject))
    t.strictSame(await news(), [])
    await login(person)
    t.strictSame(await news(), [], 'as at the sign-up')
    await login(person, firefox)
    t.match(await news(), [{ text: /Firefox on Linux/ }])
    await login(person, firefox.replaceAll('140', '141'))
    t.strictSame(await news(), [], 'an update is no new device')
  },
)

t.test('what a user agent says gets into no mail', async (t) => {
  const person = await signUp()
  await login(person, '<a href="http://evil.example">Chrome/1</a>')
  const mails = await mailbox.receive(service, person.email)
  t.notMatch(JSON.stringify(mails), /evil/)
})

t.test('the reuse of a refresh token is told by mail and audited', async (t) => {
  const person = await signUp()
  await refresh(person.refreshToken)
  await sql`update sessions set rotated_at = now() - interval '11 s' where person_id = ${person.personId}`.execute(
    db,
  )
  t.match((await refresh(person.refreshToken)).body, { code: 'token_reused' })
  const mails = await mailbox.receive(service, person.email)
  t.match(mails.at(-1), { subject: 'A session was ended to protect your account' })
})

t.test(
  'every sign-in, failure and change is in the audit log, with address and request, without secrets',
  async (t) => {
    const person = await signUp()
    const { token } = person
    const started = await login(person)
    await call('POST', '/auth/login', { body: { email: person.email, password: 'canary password' } })
    await call('PATCH', '/auth/me', { token, body: { firstName: 'canary' } })
    await call('PUT', '/auth/password', {
      token,
      body: { currentPassword: 'canary', newPassword: 'canary 2 canary' },
    })
    await call('PUT', '/auth/password', {
      token,
      body: { currentPassword: person.password, newPassword: 'canary 2 canary' },
    })
    await call('POST', '/auth/password/forgot', { body: { email: person.email } })
    const mails = await mailbox.receive(service, person.email)
    await call('POST', '/auth/email/verify', { body: { token: mails[0]?.token } })
    await call('POST', '/auth/email/verify', { body: { token: mails[0]?.token } })
    await call('POST', '/auth/password/reset', {
      body: { token: `fhp_${'A'.repeat(43)}`, password: 'canary 3 canary' },
    })
    const token_ = mails.find(({ subject }) => subject === 'Choose a new password')?.token
    await call('POST', '/auth/password/reset', { body: { token: token_, password: 'canary 3 canary' } })
    t.equal(started.status, 200)
    const entries = await db.selectFrom('audit_log').selectAll().orderBy('id').execute()
    const actions = new Set(entries.map(({ action }) => action))
    for (const action of [
      'person.registered',
      'session.started',
      'login.failed',
      'person.updated',
      'password.change_failed',
      'password.changed',
      'password.reset_requested',
      'email.verified',
      'email.verify_failed',
      'password.reset_failed',
      'password.reset',
      'session.ended',
      'session.all_ended',
      'session.refresh_token_reused',
    ]) {
      t.ok(actions.has(action), action)
    }
    t.notMatch(JSON.stringify(entries), /canary|fh[prv]_/)
    t.ok(entries.every((entry) => entry.address === '127.0.0.1' && entry.request_id !== null))
  },
)
