import t from 'tap'
import { reservedNames } from '../../../src/kernel/sign-in-providers.ts'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { startHonestProvider } from '../../helpers/providers.ts'

const publicUrl = 'http://localhost:4000'
const mailbox = await openMailbox(t)
const google = await startHonestProvider(t, 'GOOGLE', { redirectUri: `${publicUrl}/auth/google/callback` })
const acme = await startHonestProvider(t, 'ACME_ID', {
  redirectUri: `${publicUrl}/auth/acme-id/callback`,
  claimsInIdToken: false,
})
const { app, call, routes, service } = await startFreehold(t, {
  ...mailbox.env,
  ...google.env,
  ...acme.env,
  OIDC_ACME_ID_LABEL: 'Acme',
  RETURN_ORIGINS: 'https://app.example.com',
})
const { db } = service.master
const open = () => openBrowser(app, publicUrl)
const newcomer = (login: string, more = {}) =>
  google.people.set(login, {
    email: `${login}@example.com`,
    email_verified: true,
    given_name: 'Ann',
    family_name: 'Lee',
    ...more,
  })

t.test('a newcomer gets an account with a proved address and the session that a login gives', async (t) => {
  newcomer('ann')
  const { status, body, user } = await open().visit('/auth/google', { login: 'ann' })
  t.equal(status, 200)
  t.match(body, {
    user: { email: 'ann@example.com', firstName: 'Ann', lastName: 'Lee', emailVerified: true },
    tenants: [],
    tokenType: 'Bearer',
    accessToken: String,
    refreshToken: String,
  })
  const context = await call('GET', '/auth/context', { token: String(body.accessToken) })
  t.match(context.body, { session: { amr: ['fed'] } })
  const actions = await db
    .selectFrom('audit_log')
    .select('action')
    .where('actor_id', '=', String(user.id))
    .orderBy('id')
    .execute()
  t.strictSame(
    actions.map(({ action }) => action),
    ['person.registered', 'identity.linked', 'session.started'],
  )
})

t.test('the second time it is the same person, found by subject, with their one tenant chosen', async (t) => {
  newcomer('bea')
  const first = await open().visit('/auth/google', { login: 'bea' })
  const token = String(first.body.accessToken)
  await service.manager.refillSpares()
  t.equal((await call('POST', '/tenants', { token, body: { name: 'Bea' } })).status, 201)
  // Whatever the provider calls them now.
  newcomer('bea', { email: 'other@example.com', email_verified: false, given_name: 'Eve' })
  const second = await open().visit('/auth/google', { login: 'bea' })
  t.match(second.body, {
    user: { ...first.user, email: 'bea@example.com', firstName: 'Ann' },
    tenant: { name: 'Bea' },
    role: 'Admin',
  })
})

t.test('an app gets a code behind the # of its own address, good once for the session', async (t) => {
  newcomer('cid')
  const place = await open().visit('/auth/google?returnTo=https://app.example.com/in%3Fa=b', { login: 'cid' })
  t.equal(place.url.origin + place.url.pathname + place.url.search, 'https://app.example.com/in?a=b')
  t.strictSame(Object.keys(place.says), ['code'])
  const body = { code: place.says.code }
  const answers = await Promise.all([1, 2, 3, 4].map(() => call('POST', '/auth/exchange', { body })))
  t.strictSame(answers.map(({ status }) => status).toSorted(), [200, 410, 410, 410])
  const session = answers.find(({ status }) => status === 200)
  t.match(session?.body, { user: { email: 'cid@example.com' }, accessToken: String })
})

t.test(
  'claims that only the userinfo endpoint has are read there, at any issuer that is configured',
  async (t) => {
    acme.people.set('dan', { email: 'Dan@Example.com', email_verified: true, name: 'Dan Doe' })
    const { status, body } = await open().visit('/auth/acme-id', { login: 'dan' })
    t.equal(status, 200)
    t.match(body.user, {
      email: 'dan@example.com',
      firstName: 'Dan Doe',
      lastName: null,
      emailVerified: true,
    })
  },
)

t.test('the same subject at another issuer is another person', async (t) => {
  newcomer('eve')
  acme.people.set('eve', { email: 'eve@acme.example.com', email_verified: true })
  const here = await open().visit('/auth/google', { login: 'eve' })
  const there = await open().visit('/auth/acme-id', { login: 'eve' })
  t.equal(there.status, 200)
  t.not(here.user.id, there.user.id)
})

t.test('eight first sign-ins at once make one account', async (t) => {
  newcomer('fay')
  const places = await Promise.all(
    Array.from({ length: 8 }, () => open().visit('/auth/google', { login: 'fay' })),
  )
  t.strictSame(
    places.map(({ status }) => status),
    Array(8).fill(200),
  )
  t.equal(new Set(places.map(({ user }) => user.id)).size, 1)
})

t.test(
  'PKCE with S256, a nonce and a state go with every sign-in, and the verifier never with the browser',
  async (t) => {
    newcomer('gus')
    const browser = open()
    const { url } = await browser.visit('/auth/google', { stop: (url) => url.origin === google.issuer })
    t.match(Object.fromEntries(url.searchParams), {
      response_type: 'code',
      code_challenge_method: 'S256',
      code_challenge: /^[\w-]{43}$/,
      state: /^fhs_[\w-]{43}$/,
      nonce: /^[\w-]{43}$/,
      redirect_uri: `${publicUrl}/auth/google/callback`,
    })
    const before = google.tokenRequests.length
    t.equal((await browser.visit(url.href, { login: 'gus' })).status, 200)
    t.match(google.tokenRequests[before]?.get('code_verifier'), /^[\w-]{43}$/)
  },
)

t.test(
  'the cookie of a sign-in is short-lived, out of reach of scripts and bound to its host over TLS',
  async (t) => {
    const { headers } = await call('GET', '/auth/google')
    const cookie = String(headers['set-cookie'])
    t.match(cookie, /^freehold-sign-in=[\w-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/)
    t.equal(headers['referrer-policy'], 'no-referrer')
  },
)

t.test('who says no at the provider comes back with the reason, and no account is made', async (t) => {
  const browser = open()
  const { url } = await browser.visit('/auth/google?returnTo=/welcome', {
    stop: (url) => url.origin === google.issuer,
  })
  const page = await browser.visit(url.href)
  const [, abort = ''] = /href="([^"]+\/abort)"/.exec(page.text) ?? []
  const place = await browser.visit(new URL(abort, page.url).href, {
    stop: (url) => url.pathname === '/welcome',
  })
  t.match(place.says, { error: 'forbidden', error_description: /begin again/ })
  const bare = open()
  const start = await bare.visit('/auth/google', { stop: (url) => url.origin === google.issuer })
  const form = await bare.visit(start.url.href)
  const [, way = ''] = /href="([^"]+\/abort)"/.exec(form.text) ?? []
  t.match((await bare.visit(new URL(way, form.url).href)).body, { status: 403, code: 'forbidden' })
})

t.test('the configuration for a page that signs people in', async (t) => {
  const { status, headers, body } = await call('GET', '/auth/config')
  t.equal(status, 200)
  t.equal(headers['cache-control'], 'public, max-age=60')
  t.strictSame(body, {
    providers: [
      { name: 'acme-id', label: 'Acme', url: '/auth/acme-id' },
      { name: 'google', label: 'Google', url: '/auth/google' },
    ],
    signUp: 'open',
    verifyEmail: 'after',
  })
})

t.test('a code is good only with the verifier of the program that began', async (t) => {
  newcomer('hal')
  const verifier = 'v'.repeat(43)
  const challenge = Buffer.from(
    await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)),
  ).toString('base64url')
  const codeOf = async (query: string): Promise<string> => {
    const place = await open().visit(`/auth/google?returnTo=/in${query}`, {
      login: 'hal',
      stop: (url) => url.pathname === '/in',
    })
    return place.says.code ?? ''
  }
  const trade = async (query: string, more: object) =>
    (await call('POST', '/auth/exchange', { body: { code: await codeOf(query), ...more } })).status
  t.equal(await trade(`&challenge=${challenge}`, { verifier }), 200)
  t.equal(await trade(`&challenge=${challenge}`, { verifier: 'w'.repeat(43) }), 410)
  t.equal(await trade(`&challenge=${challenge}`, {}), 410)
  t.equal(
    await trade('', { verifier }),
    410,
    'a program with a verifier takes no code that somebody else began',
  )
  t.equal(await trade('', {}), 200)
})

t.test('a code that is a minute old, or whose person was disabled meanwhile, is gone', async (t) => {
  newcomer('ida')
  const codeOf = async (): Promise<string> =>
    (await open().visit('/auth/google?returnTo=/in', { login: 'ida', stop: (url) => url.pathname === '/in' }))
      .says.code ?? ''
  const old = await codeOf()
  await db.updateTable('sign_in_codes').set({ expires_at: new Date() }).execute()
  t.match((await call('POST', '/auth/exchange', { body: { code: old } })).body, { status: 410, code: 'gone' })
  const fresh = await codeOf()
  await db
    .updateTable('people')
    .set({ disabled_at: new Date() })
    .where('email', '=', 'ida@example.com')
    .execute()
  t.match((await call('POST', '/auth/exchange', { body: { code: fresh } })).body, {
    status: 410,
    code: 'gone',
  })
  const { body } = await open().visit('/auth/google', { login: 'ida' })
  t.match(body, { status: 403, code: 'forbidden' })
})

t.test(
  'who came with Google has no password, gets one by mail, and a login says the same as for a stranger',
  async (t) => {
    newcomer('joy')
    await open().visit('/auth/google', { login: 'joy' })
    const same = async (email: string) => {
      const { status, text } = await call('POST', '/auth/login', {
        body: { email, password: 'a long password' },
      })
      return { status, text: text.replace(/"requestId":"[^"]+"/, '') }
    }
    t.strictSame(await same('joy@example.com'), await same('nobody@example.com'))
    t.equal((await call('POST', '/auth/password/forgot', { body: { email: 'joy@example.com' } })).status, 202)
    const token = (await mailbox.receive(service, 'joy@example.com')).at(-1)?.token ?? ''
    const password = 'a long password'
    t.equal((await call('POST', '/auth/password/reset', { body: { token, password } })).status, 204)
    t.equal((await call('POST', '/auth/login', { body: { email: 'joy@example.com', password } })).status, 200)
  },
)

t.test('a sign-in from a new device is told by mail', async (t) => {
  newcomer('kim')
  await openBrowser(app, publicUrl, 'one browser').visit('/auth/google', { login: 'kim' })
  await mailbox.receive(service, 'kim@example.com')
  await openBrowser(app, publicUrl, 'quite another').visit('/auth/google', { login: 'kim' })
  t.match(await mailbox.receive(service, 'kim@example.com'), [{ subject: /new device/ }])
})

t.test('no provider can take the name of another address under /auth', async (t) => {
  const taken = routes.flatMap(({ path }) => /^\/auth\/([^/:]+)/.exec(path)?.[1] ?? [])
  const providers = new Set(['google', 'acme-id'])
  t.ok(taken.length > 20)
  t.strictSame(
    [...new Set(taken)].filter((name) => !providers.has(name) && !reservedNames.has(name)),
    [],
    'add them to reservedNames',
  )
})
