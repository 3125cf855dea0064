import { sql } from 'kysely'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { masterStatements } from '../../helpers/master-statements.ts'

const mailbox = await openMailbox(t)
const { call, service, signUp } = await startFreehold(t, mailbox.env)
const { db } = service.master

const next = 'another long passphrase'
const login = (email: string, password: string) => call('POST', '/auth/login', { body: { email, password } })
const forgot = (email: string) => call('POST', '/auth/password/forgot', { body: { email } })
const reset = (token: string, password = next) =>
  call('POST', '/auth/password/reset', { body: { token, password } })
const change = (token: string, currentPassword: string, newPassword = next) =>
  call('PUT', '/auth/password', { token, body: { currentPassword, newPassword } })
const context = (token: unknown) => call('GET', '/auth/context', { token: String(token) })

/** Asks for a new password and answers the token from the mail. */
const resetToken = async (email: string): Promise<string> => {
  await forgot(email)
  const mails = await mailbox.receive(service, email)
  const mail = mails.findLast(({ subject }) => subject === 'Choose a new password')
  if (mail === undefined) throw new Error(`no mail came to ${email}`)
  return mail.token
}

t.test('a changed password signs in, the old one does not, and the person hears of it', async (t) => {
  const { email, password, token } = await signUp()
  t.equal((await change(token, password)).status, 204)
  t.equal((await login(email, password)).status, 401)
  t.equal((await login(email, next)).status, 200)
  const mails = await mailbox.receive(service, email)
  t.match(mails.at(-1), { subject: 'Your password was changed', text: /From: 127\.0\.0\.1/ })
})

t.test('a changed password ends every other session at once, and keeps this one', async (t) => {
  const { email, password, token, refreshToken } = await signUp()
  const other = await login(email, password)
  t.equal((await context(other.body.accessToken)).status, 200)
  await change(token, password)
  t.equal((await context(other.body.accessToken)).status, 401)
  const old = await call('POST', '/auth/refresh', { body: { refreshToken: other.body.refreshToken } })
  t.equal(old.status, 401)
  t.equal((await context(token)).status, 200)
  t.equal((await call('POST', '/auth/refresh', { body: { refreshToken } })).status, 200)
})

t.test('without the current password nothing changes, and the try is audited', async (t) => {
  const { email, password, token, personId } = await signUp()
  t.match((await change(token, 'not it at all')).body, { status: 401, code: 'invalid_credentials' })
  t.equal((await login(email, password)).status, 200)
  const actions = await db.selectFrom('audit_log').select('action').where('actor_id', '=', personId).execute()
  t.ok(actions.some(({ action }) => action === 'password.change_failed'))
})

t.test('of two changes at once one wins', async (t) => {
  const { email, password, token } = await signUp()
  const wanted = ['first of two passwords', 'second of two passwords']
  const answers = await Promise.all(wanted.map((one) => change(token, password, one)))
  t.strictSame(answers.map(({ status }) => status).sort(), [204, 401])
  const won = wanted[answers.findIndex(({ status }) => status === 204)] ?? ''
  t.equal((await login(email, won)).status, 200)
})

t.test('a password that everybody tries first is refused, in whatever case, everywhere', async (t) => {
  const { email, password, token } = await signUp()
  const refused = { status: 400, code: 'validation_failed' }
  for (const common of ['password', 'PassWord', '12345678', 'qwertyuiop', 'iloveyou1']) {
    const body = { email: 'common@example.com', password: common, firstName: 'C' }
    t.match((await call('POST', '/auth/register', { body })).body, {
      ...refused,
      errors: [{ path: '/password' }],
    })
    t.match((await change(token, password, common)).body, { ...refused, errors: [{ path: '/newPassword' }] })
  }
  const mailed = await resetToken(email)
  t.match((await reset(mailed, 'password')).body, refused)
  t.equal((await reset(mailed)).status, 204, 'and the link is good still')
})

t.test('there are no rules but the length: any characters, 8 to 256 of them', async (t) => {
  const { email, password, token } = await signUp()
  for (const [length, status] of [
    [7, 400],
    [8, 204],
    [256, 204],
    [257, 400],
  ] as const) {
    const current = length === 256 ? 'é'.repeat(8) : password
    t.equal((await change(token, current, 'é'.repeat(length))).status, status, `${length}`)
  }
  t.equal((await login(email, 'é'.repeat(256))).status, 200)
})

t.test('a forgotten password is set by the link of the mail, which also proves the address', async (t) => {
  const { email, password } = await signUp()
  t.equal((await reset(await resetToken(email))).status, 204)
  t.equal((await login(email, password)).status, 401)
  t.match((await login(email, next)).body, { user: { emailVerified: true } })
  t.match((await mailbox.receive(service, email)).at(-1), { subject: 'Your password was changed' })
})

t.test('a reset ends every session at once, access tokens included', async (t) => {
  const { email, token, refreshToken } = await signUp()
  t.equal((await context(token)).status, 200)
  await reset(await resetToken(email))
  t.equal((await context(token)).status, 401)
  t.equal((await call('POST', '/auth/refresh', { body: { refreshToken } })).status, 401)
})

t.test('of 32 uses of one reset token at once, one works', async (t) => {
  const { email } = await signUp()
  const token = await resetToken(email)
  const passwords = Array.from({ length: 32 }, (_, n) => `one of many passwords ${n}`)
  const answers = await Promise.all(passwords.map((password) => reset(token, password)))
  t.strictSame(answers.map(({ status }) => status).sort(), [204, ...Array.from({ length: 31 }, () => 410)])
  const won = passwords[answers.findIndex(({ status }) => status === 204)] ?? ''
  t.equal((await login(email, won)).status, 200)
})

t.test('spent, superseded, expired and outdated links are all the same to who brings them', async (t) => {
  const [spent, superseded, expired, outdated, disabled] = [
    await signUp(),
    await signUp(),
    await signUp(),
    await signUp(),
    await signUp(),
  ]
  const tokens: Record<string, string> = {}
  for (const [name, { email }] of Object.entries({ spent, superseded, expired, outdated, disabled })) {
    tokens[name] = await resetToken(email)
  }
  await reset(tokens.spent ?? '')
  await resetToken(superseded.email)
  await sql`update mailed_tokens set expires_at = now() where email = ${expired.email}`.execute(db)
  await change(outdated.token, outdated.password, 'changed in the meantime')
  await db
    .updateTable('people')
    .set({ disabled_at: new Date() })
    .where('id', '=', disabled.personId)
    .execute()
  const made = { unknown: `fhp_${'A'.repeat(43)}`, 'no token': 'x' }
  const answers = []
  for (const [name, token] of Object.entries({ ...tokens, ...made })) {
    const answer = await reset(token)
    t.match(answer.body, { status: 410, code: 'gone' }, name)
    answers.push({ ...answer.body, requestId: '' })
  }
  t.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1)
})

t.test('the master keeps no token of a mail', async (t) => {
  const { email } = await signUp()
  const token = await resetToken(email)
  const rows = await db.selectFrom('mailed_tokens').selectAll().execute()
  const dump = JSON.stringify(
    rows.map((row) => ({ ...row, token_hash: row.token_hash.toString('base64url') })),
  )
  t.notOk(dump.includes(token.slice(4)))
})

t.test(
  'who asks for a new password hears the same, whoever they ask for; only the owner gets a mail',
  async (t) => {
    const [known, disabled, google] = [await signUp(), await signUp(), await signUp()]
    await db
      .updateTable('people')
      .set({ disabled_at: new Date() })
      .where('id', '=', disabled.personId)
      .execute()
    await db.updateTable('people').set({ password_hash: null }).where('id', '=', google.personId).execute()
    const addresses = {
      known: known.email,
      capitals: known.email.toUpperCase(),
      disabled: disabled.email,
      'without a password': google.email,
      unknown: 'nobody@example.com',
    }
    const answers = []
    for (const email of Object.values(addresses)) {
      const { status, headers, text } = await forgot(email)
      const { 'x-request-id': _, date: __, ...same } = headers
      answers.push(JSON.stringify({ status, same, text }))
    }
    t.equal(new Set(answers).size, 1)
    t.match(answers[0], /"status":202/)
    const subjects = async (email: string) =>
      (await mailbox.receive(service, email)).map(({ subject }) => subject)
    const link = 'Choose a new password'
    t.strictSame(
      (await subjects(known.email)).filter((subject) => subject === link),
      [link, link],
    )
    t.notOk((await subjects(disabled.email)).includes(link))
    t.ok((await subjects(google.email)).includes(link))
    t.strictSame(await subjects('nobody@example.com'), [])
  },
)

t.test('a forgotten password costs the same statements for a known and an unknown address', async (t) => {
  const { email } = await signUp()
  await mailbox.receive(service, email)
  const statements = (address: string) => masterStatements(service, () => forgot(address))
  t.strictSame(await statements(email), await statements('nobody@example.com'))
  t.ok((await statements(email)).length > 2)
})

t.test('a hash of older parameters is made anew when its owner signs in', async (t) => {
  const { email, password, personId } = await signUp()
  const { hash } = await import('argon2')
  const older = await hash(password, { memoryCost: 8192, timeCost: 1, parallelism: 1 })
  await db.updateTable('people').set({ password_hash: older }).where('id', '=', personId).execute()
  t.equal((await login(email, password)).status, 200)
  const { password_hash } = await db
    .selectFrom('people')
    .select('password_hash')
    .where('id', '=', personId)
    .executeTakeFirstOrThrow()
  t.equal(service.passwords.isOutdated(String(password_hash)), false)
  t.equal((await login(email, password)).status, 200)
})

t.test('a sign-in that is under way when the password is reset gets no session', async (t) => {
  const { email, password } = await signUp()
  const token = await resetToken(email)
  const [, signedIn] = await Promise.all([
    reset(token),
    ...Array.from({ length: 8 }, () => login(email, password)),
  ])
  t.ok(signedIn)
  const live = await db
    .selectFrom('sessions')
    .innerJoin('people', 'people.id', 'sessions.person_id')
    .select('sessions.id')
    .where('people.email', '=', email)
    .where('sessions.ended_at', 'is', null)
    .execute()
  t.strictSame(live, [])
})

for (const [method, url] of [
  ['PUT', '/auth/password'],
  ['GET', '/auth/me'],
  ['PATCH', '/auth/me'],
] as const) {
  t.test(`${method} ${url} is for signed-in people`, async (t) => {
    const answer = await call(method, url, method === 'GET' ? {} : { body: {} })
    t.match(answer.body, { status: 401, code: 'unauthenticated' })
  })
}
