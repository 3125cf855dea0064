// Longer than others: each of its tests needs the same two providers, a mailbox and a service.
import { sql } from 'kysely'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { type Claims, startHonestProvider, startLyingProvider } from '../../helpers/providers.ts'
import { until } from '../../helpers/until.ts'

const publicUrl = 'http://localhost:4000'
const mailbox = await openMailbox(t)
const google = await startHonestProvider(t, 'GOOGLE', { redirectUri: `${publicUrl}/auth/google/callback` })
const other = await startLyingProvider(t, 'OTHER')
const { app, call, service, signUp } = await startFreehold(t, { ...mailbox.env, ...google.env, ...other.env })
const { db } = service.master
const open = () => openBrowser(app, publicUrl)
const googleIssuer = google.issuer

let counter = 0
/** Somebody with an account at Google. */
const googler = (email?: string): { login: string; email: string } => {
  counter += 1
  const login = `googler-${counter}`
  const address = email ?? `${login}@example.com`
  google.people.set(login, { email: address, email_verified: true, given_name: 'Goo' })
  return { login, email: address }
}

const verify = async (email: string): Promise<void> => {
  const mail = (await mailbox.receive(service, email)).find(({ link }) => link.includes('/auth/email/verify'))
  const { status } = await call('POST', '/auth/email/verify', { body: { token: mail?.token } })
  if (status !== 200) throw new Error(`not verified: ${status}`)
}

/** A person with a password and a proved address. */
const proved = async () => {
  const person = await signUp()
  await verify(person.email)
  return person
}

const begin = (token: string | undefined, provider = 'google') =>
  call('POST', '/auth/identities', { token, body: { provider, returnTo: '/linked' } })
const finish = (token: string | undefined, code: string | undefined) =>
  call('POST', '/auth/identities/link', { token, body: { code } })
const list = async (token: string) =>
  (await call('GET', '/auth/identities', { token })).body.data as unknown as (Claims & { id: string })[]
const remove = (token: string, id: string) => call('DELETE', `/auth/identities/${id}`, { token })
const login = async ({ email, password }: { email: string; password: string }) =>
  (await call('POST', '/auth/login', { body: { email, password } })).status

const stop = ({ pathname }: URL): boolean => pathname === '/linked'
/** Goes to the provider and answers the code that the app would find. */
const codeFor = async (token: string, login: string, browser = open()): Promise<string> => {
  const { body } = await begin(token)
  return (await browser.visit(String(body.url), { login, stop })).says.code ?? ''
}

const confirm = (token: string | undefined) => call('POST', '/auth/identities/confirm', { body: { token } })
const linkMail = async (email: string) =>
  (await mailbox.receive(service, email)).find(({ link }) => link.includes('/auth/identities/confirm'))

t.test(
  'a signed-in person connects Google, is told by mail, and signs in with it from then on',
  async (t) => {
    const [person, { login }] = [await proved(), googler('elsewhere@example.com')]
    const { status, body } = await finish(person.token, await codeFor(person.token, login))
    t.equal(status, 200)
    t.match(body, {
      id: String,
      provider: 'google',
      label: 'Google',
      email: 'elsewhere@example.com',
      lastUsedAt: null,
    })
    t.match(await mailbox.receive(service, person.email), [
      { subject: 'Google was connected to your account' },
    ])
    const { user } = await open().visit('/auth/google', { login })
    t.equal(user.id, person.personId)
    t.equal(user.email, person.email, 'the address of the account stays')
    const [identity, ...more] = await list(person.token)
    t.match(identity, { id: body.id, provider: 'google', lastUsedAt: String })
    t.strictSame(more, [])
  },
)

t.test(
  'nobody signed in can begin or finish, and who has not proved their address cannot either',
  async (t) => {
    t.match((await begin(undefined)).body, { status: 401, code: 'unauthenticated' })
    t.match((await finish(undefined, 'x')).body, { status: 401, code: 'unauthenticated' })
    const person = await signUp()
    t.match((await begin(person.token)).body, { status: 403, code: 'email_not_verified' })
    t.match((await begin((await proved()).token, 'nobody')).body, { status: 404, code: 'not_found' })
  },
)

t.test('an address that stops being proved on the way connects nothing', async (t) => {
  const [person, { login }] = [await proved(), googler()]
  const code = await codeFor(person.token, login)
  await db.updateTable('people').set({ email_verified_at: null }).where('id', '=', person.personId).execute()
  t.match((await finish(person.token, code)).body, { status: 403, code: 'email_not_verified' })
  t.strictSame(await list(person.token), [])
})

t.test("an attacker's link, followed by a victim, connects nothing (either way round)", async (t) => {
  const [attacker, victim] = [await proved(), await proved()]
  const [{ login: attackersGoogle }, { login: victimsGoogle }] = [googler(), googler()]
  // The victim's browser goes to Google for the attacker; the app there speaks for the victim.
  const code = await codeFor(attacker.token, victimsGoogle)
  t.match((await finish(victim.token, code)).body, { status: 410, code: 'gone' })
  // The victim's app is fed a code that the attacker began.
  const own = await codeFor(attacker.token, attackersGoogle)
  t.match((await finish(victim.token, own)).body, { status: 410, code: 'gone' })
  t.strictSame([await list(attacker.token), await list(victim.token)], [[], []])
})

t.test('only the session that began can finish, not another one of the same person', async (t) => {
  const [person, { login: google }] = [await proved(), googler()]
  const code = await codeFor(person.token, google)
  const { body } = await call('POST', '/auth/login', {
    body: { email: person.email, password: person.password },
  })
  t.match((await finish(String(body.accessToken), code)).body, { status: 410, code: 'gone' })
  t.equal((await finish(person.token, code)).status, 200)
})

t.test('what is connected to one account is not connected to a second', async (t) => {
  const [one, two, { login }] = [await proved(), await proved(), googler()]
  t.equal((await finish(one.token, await codeFor(one.token, login))).status, 200)
  t.match((await finish(two.token, await codeFor(two.token, login))).body, { status: 409, code: 'conflict' })
  const again = await finish(one.token, await codeFor(one.token, login))
  t.equal(again.status, 200, 'a second time for the same account changes nothing')
  t.equal((await list(one.token)).length, 1)
})

t.test('an account with that address is not entered; a link in a mail connects the two', async (t) => {
  const person = await proved()
  const { login: google } = googler(person.email.toUpperCase())
  t.match((await open().visit('/auth/google', { login: google })).body, { status: 409, code: 'email_taken' })
  t.strictSame(await list(person.token), [], 'nothing is connected before the click')
  const mail = await linkMail(person.email)
  t.match(mail, {
    subject: 'Connect Google to your account?',
    link: /^http:\/\/localhost:4000\/auth\/identities\/confirm#token=fhi_/,
  })
  const page = await call('GET', '/auth/identities/confirm')
  t.equal(page.status, 200)
  t.match(page.headers['content-type'], /^text\/html/)
  t.match((await confirm(mail?.token)).body, { email: person.email, next: 'sign_in' })
  t.match((await confirm(mail?.token)).body, { status: 410, code: 'gone' })
  const { user } = await open().visit('/auth/google', { login: google })
  t.equal(user.id, person.personId)
  t.equal(await login(person), 200, 'whose address was proved keeps the password')
  t.equal((await call('GET', '/auth/me', { token: person.token })).status, 200, 'and the sessions')
})

t.test(
  'an account that was made with the address of somebody else is worth nothing to its maker once the owner comes with Google',
  async (t) => {
    const attacker = await signUp()
    const { login: google } = googler(attacker.email)
    // However they might have got it: an identity of their own on an account that nobody proved.
    const planted = googler()
    await db
      .insertInto('identities')
      .values({
        id: crypto.randomUUID(),
        person_id: attacker.personId,
        issuer: googleIssuer,
        subject: planted.login,
      })
      .execute()
    await call('POST', '/auth/password/forgot', { body: { email: attacker.email } })
    const mails = await mailbox.receive(service, attacker.email)
    const old = mails.find(({ link }) => link.includes('/auth/password/reset'))
    t.match((await open().visit('/auth/google', { login: google })).body, {
      status: 409,
      code: 'email_taken',
    })
    t.equal((await call('GET', '/auth/me', { token: attacker.token })).status, 200)
    t.equal((await confirm((await linkMail(attacker.email))?.token)).status, 200)

    t.equal(await login(attacker), 401, 'the password is gone')
    t.equal((await call('GET', '/auth/me', { token: attacker.token })).status, 401, 'the sessions are ended')
    const refresh = { refreshToken: attacker.refreshToken }
    t.equal((await call('POST', '/auth/refresh', { body: refresh })).status, 401)
    const reset = { token: old?.token, password: 'another long password' }
    t.equal((await call('POST', '/auth/password/reset', { body: reset })).status, 410, 'older links are dead')
    const planter = await open().visit('/auth/google', { login: planted.login })
    t.not(planter.user.id, attacker.personId, 'the planted identity is gone')
    const { user } = await open().visit('/auth/google', { login: google })
    t.match(user, { id: attacker.personId, emailVerified: true })
    const actions = await db
      .selectFrom('audit_log')
      .select('action')
      .where('actor_id', '=', attacker.personId)
      .execute()
    t.ok(actions.some(({ action }) => action === 'person.taken_over'))
  },
)

t.test('an unproved address at the provider neither enters, links nor mails anything', async (t) => {
  const person = await proved()
  for (const email_verified of [false, 'true', undefined]) {
    other.says.claims = { sub: 'eve', email: person.email, email_verified }
    t.match((await open().visit('/auth/other')).body, { status: 403, code: 'email_not_verified' })
  }
  t.strictSame(await mailbox.receive(service, person.email), [])
})

t.test(
  'a link in a mail is dead after an hour, for a changed address and for a disabled person',
  async (t) => {
    const people = [await proved(), await proved(), await proved()] as const
    const mails = []
    for (const { email } of people) {
      await open().visit('/auth/google', { login: googler(email).login })
      mails.push(await linkMail(email))
    }
    const [late, moved, disabled] = people
    await db
      .updateTable('mailed_tokens')
      .set({ expires_at: new Date() })
      .where('email', '=', late.email)
      .execute()
    const update = (personId: string, change: { email: string } | { disabled_at: Date }) =>
      db.updateTable('people').set(change).where('id', '=', personId).execute()
    await update(moved.personId, { email: `moved-${moved.email}` })
    await update(disabled.personId, { disabled_at: new Date() })
    for (const mail of mails) {
      t.ok(mail)
      t.match((await confirm(mail?.token)).body, { status: 410, code: 'gone' })
    }
    t.match((await confirm('fhi_made-up')).body, { status: 410, code: 'gone' })
    t.strictSame(
      await db
        .selectFrom('identities')
        .select('id')
        .where(
          'person_id',
          'in',
          people.map((p) => p.personId),
        )
        .execute(),
      [],
    )
  },
)

t.test('the owner of a disabled account is not mailed', async (t) => {
  const person = await proved()
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', person.personId).execute()
  await open().visit('/auth/google', { login: googler(person.email).login })
  t.strictSame(await mailbox.receive(service, person.email), [])
})

t.test(
  'an identity is disconnected, with a mail, and the next sign-in with it is a stranger again',
  async (t) => {
    const [person, { login }] = [await proved(), googler()]
    const { body } = await finish(person.token, await codeFor(person.token, login))
    await mailbox.receive(service, person.email)
    const waiting = await open().visit('/auth/google?returnTo=/linked', { login, stop })
    t.equal((await remove(person.token, String(body.id))).status, 204)
    t.match(await mailbox.receive(service, person.email), [
      { subject: 'Google was disconnected from your account' },
    ])
    t.match((await remove(person.token, String(body.id))).body, { status: 404, code: 'not_found' })
    const exchange = await call('POST', '/auth/exchange', { body: { code: waiting.says.code } })
    t.match(exchange.body, { status: 410, code: 'gone' }, 'codes that wait go with it')
    t.not((await open().visit('/auth/google', { login })).user.id, person.personId)
  },
)

t.test("somebody else's identity cannot be seen or disconnected", async (t) => {
  const [person, stranger, { login }] = [await proved(), await proved(), googler()]
  const { body } = await finish(person.token, await codeFor(person.token, login))
  t.match((await remove(stranger.token, String(body.id))).body, { status: 404, code: 'not_found' })
  t.strictSame(await list(stranger.token), [])
  t.equal((await list(person.token)).length, 1)
  t.match((await call('GET', '/auth/identities')).body, { status: 401, code: 'unauthenticated' })
  t.match((await call('DELETE', `/auth/identities/${String(body.id)}`)).body, { status: 401 })
})

t.test('who disconnects the second last while the last goes waits, and is refused', async (t) => {
  const { body: session, user } = await open().visit('/auth/google', { login: googler().login })
  const token = String(session.accessToken)
  await finish(token, await codeFor(token, googler().login))
  const [one, two] = await list(token)
  let settled = false
  const removal = await db.transaction().execute(async (trx) => {
    await trx.selectFrom('people').select('id').where('id', '=', String(user.id)).forNoKeyUpdate().execute()
    const waiting = remove(token, two?.id ?? '').finally(() => {
      settled = true
    })
    const waits = sql<{ n: number }>`select count(*)::int as n from pg_locks where not granted`
    await until(async () => settled || ((await waits.execute(trx)).rows[0]?.n ?? 0) > 0)
    await trx
      .deleteFrom('identities')
      .where('id', '=', one?.id ?? '')
      .execute()
    return { waiting }
  })
  t.match((await removal.waiting).body, { status: 409, code: 'conflict' })
})

t.test('the last way to sign in stays, also when the last two go at once', async (t) => {
  const { login } = googler()
  const session = (await open().visit('/auth/google', { login })).body
  const token = String(session.accessToken)
  const [first] = await list(token)
  t.match((await remove(token, first?.id ?? '')).body, { status: 409, code: 'conflict' })
  t.equal((await finish(token, await codeFor(token, googler().login))).status, 200)
  const both = await list(token)
  const answers = await Promise.all(both.map(({ id }) => remove(token, id)))
  t.strictSame(answers.map(({ status }) => status).toSorted(), [204, 409])
  // One of a provider that is not set up any more is no way to sign in.
  const [{ person_id }] = (await db
    .selectFrom('identities')
    .select('person_id')
    .where(
      'id',
      'in',
      both.map(({ id }) => id),
    )
    .execute()) as [{ person_id: string }]
  await db
    .insertInto('identities')
    .values({ id: crypto.randomUUID(), person_id, issuer: 'https://gone.example', subject: 's' })
    .execute()
  const left = await list(token)
  t.match(
    left.find(({ provider }) => provider === null),
    { label: 'gone.example' },
  )
  const working = left.find(({ provider }) => provider === 'google')
  t.match((await remove(token, working?.id ?? '')).body, { status: 409, code: 'conflict' })
})
