import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { type Browser, openBrowser } from '../../helpers/browser.ts'
import { startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t, { CORS_ORIGINS: 'https://app.example.com' })
const { app, call, service, signUp } = freehold
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as AddressInfo

const cookieMode = { 'x-auth-mode': 'cookie' }
const own = 'http://localhost:4000'
const signedIn = async () => {
  const person = await signUp()
  const browser = openBrowser(freehold)
  await browser.signIn(person)
  return { ...person, browser }
}
type Headers = Record<string, string | undefined>
const change = (browser: Browser, headers: Headers = {}) =>
  browser.ask('PATCH', '/auth/me', { body: { firstName: 'Changed' }, headers })
const forbidden = { status: 403, code: 'forbidden' }
const unauthenticated = { status: 401, code: 'unauthenticated' }

/** Sends headers as they are, twice when they stand there twice. */
const raw = (headers: [string, string][]): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const sent = request({
      port,
      host: '127.0.0.1',
      path: '/auth/context',
      headers: ['host', 'localhost', ...headers.flat()],
    })
    sent.on('response', (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
    sent.on('error', reject)
    sent.end()
  })
const cookieHeader = ({ jar }: Browser): string => [...jar].map((pair) => pair.join('=')).join('; ')

t.test('oversized or doubled Authorization falling back to the cookie: never', async (t) => {
  const { browser, token } = await signedIn()
  const cookie: [string, string] = ['cookie', cookieHeader(browser)]
  t.equal(await raw([cookie]), 200)
  t.equal(await raw([cookie, ['authorization', `Bearer ${token}`]]), 200, 'a good one is what counts')
  const bad: [string, [string, string][], number][] = [
    ['empty', [['Authorization', '']], 401],
    ['blank', [['authorization', ' ']], 401],
    ['a scheme alone', [['authorization', 'Bearer ']], 401],
    ['another scheme', [['authorization', 'Basic eDp5']], 401],
    ['nonsense', [['authorization', 'Bearer nonsense']], 401],
    [
      'twice',
      [
        ['authorization', `Bearer ${token}`],
        ['authorization', `Bearer ${token}`],
      ],
      401,
    ],
    [
      'twice, one empty',
      [
        ['authorization', ''],
        ['Authorization', `Bearer ${token}`],
      ],
      401,
    ],
    ['as long as headers may be', [['authorization', `Bearer ${'x'.repeat(12_000)}`]], 401],
    ['longer than headers may be', [['authorization', `Bearer ${'x'.repeat(20_000)}`]], 431],
    ['of an ended session', [['authorization', `Bearer ${token}`]], 401],
  ]
  for (const [name, headers, status] of bad) {
    if (name.includes('ended')) await call('POST', '/auth/logout', { token })
    t.equal(await raw([cookie, ...headers]), status, name)
    t.equal(await raw([...headers, cookie]), status, `${name}, before the cookie`)
  }
  const answer = await browser.ask('POST', '/auth/refresh', {
    headers: { ...cookieMode, authorization: '' },
  })
  t.match(answer.body, unauthenticated, 'nor does a refresh')
  t.equal((await browser.ask('GET', '/auth/context')).status, 200)
})

t.test('a bearer request is judged by its token alone, whatever cookies come along', async (t) => {
  const [mine, other] = [await signUp(), await signedIn()]
  const answer = await other.browser.ask('GET', '/auth/context', { token: mine.token })
  t.match(answer.body, { user: { email: mine.email }, csrfToken: undefined })
  for (const cookie of ['freehold-access=x; freehold-access=y', 'freehold-access=x', '=;;=']) {
    t.equal((await call('GET', '/auth/context', { token: mine.token, headers: { cookie } })).status, 200)
  }
})

t.test('a session keeps to the mode it was opened in', async (t) => {
  const { browser, token, refreshToken } = await signedIn()
  const inCookies = {
    access: browser.jar.get('freehold-access'),
    refresh: browser.jar.get('freehold-refresh'),
  }
  const bearer = await call('GET', '/auth/context', { token: inCookies.access })
  t.match(bearer.body, unauthenticated, 'an access cookie as a bearer token')
  const body = await call('POST', '/auth/refresh', { body: { refreshToken: inCookies.refresh } })
  t.match(body.body, unauthenticated, 'a refresh cookie in a body')
  const planted = openBrowser(freehold)
  planted.jar.set('freehold-access', token)
  t.match((await planted.ask('GET', '/auth/context')).body, unauthenticated, 'a bearer token as a cookie')
  planted.jar.set('freehold-refresh', refreshToken)
  const refreshed = await planted.ask('POST', '/auth/refresh', { headers: cookieMode })
  t.match(refreshed.body, unauthenticated, 'a refresh token from a body as a cookie')
  const both = await browser.ask('POST', '/auth/refresh', { headers: cookieMode, body: { refreshToken } })
  t.match(both.body, { status: 400, code: 'validation_failed' }, 'both at once')
  const neither = await browser.ask('POST', '/auth/refresh')
  t.match(neither.body, { status: 400, errors: [{ path: '/refreshToken' }] }, 'the cookie without the header')
  t.equal(
    (await browser.ask('POST', '/auth/refresh', { headers: cookieMode })).status,
    200,
    'nothing was spent',
  )
  t.equal((await call('POST', '/auth/refresh', { body: { refreshToken } })).status, 200)
})

t.test('a CSRF token that is missing, made up, or of another session', async (t) => {
  const [mine, other] = [await signedIn(), await signedIn()]
  const good = String(mine.browser.csrfToken)
  const second = openBrowser(freehold)
  await second.signIn(mine)
  const wrong: [string, string | undefined][] = [
    ['missing', undefined],
    ['empty', ''],
    ['made up', `fhx_${'A'.repeat(43)}`],
    ['truncated', good.slice(0, -1)],
    ['extended', `${good}A`],
    ['twice', `${good}, ${good}`],
    ["of another person's session", other.browser.csrfToken],
    ['of another session of the same person', second.csrfToken],
    ['an access token', mine.token],
  ]
  for (const [name, csrfToken] of wrong) {
    t.match((await change(mine.browser, { 'x-csrf-token': csrfToken })).body, forbidden, name)
  }
  t.equal((await mine.browser.ask('GET', '/auth/me', { headers: { 'x-csrf-token': undefined } })).status, 200)
  t.equal((await change(mine.browser)).status, 200)
  t.equal((await call('PATCH', '/auth/me', { token: mine.token, body: { firstName: 'B' } })).status, 200)
  const foreign = await mine.browser.ask('POST', '/auth/refresh', {
    headers: { ...cookieMode, 'x-csrf-token': String(other.browser.csrfToken) },
  })
  t.match(foreign.body, forbidden, 'a refresh by a page that thinks of another session')
  t.equal((await change(mine.browser)).status, 200)
})

t.test('every route that changes something asks for the CSRF token, before anything else', async (t) => {
  const { browser } = await signedIn()
  const changing = freehold.routes.filter(
    ({ method, access }) => !['GET', 'HEAD', 'OPTIONS'].includes(method) && access.scope !== 'public',
  )
  t.ok(changing.length > 10)
  for (const { method, path } of changing) {
    const url = path.replace(/:\w+/g, '018f0000-0000-7000-8000-000000000000')
    const answer = await browser.ask(method, url, { headers: { 'x-csrf-token': undefined } })
    t.match(answer.body, { ...forbidden, detail: /x-csrf-token/ }, `${method} ${path}`)
  }
  const own = await browser.ask('POST', '/auth/email/resend', { headers: { 'x-csrf-token': undefined } })
  t.match(own.body, forbidden, 'and the public one that knows signed-in people')
  t.equal((await browser.ask('GET', '/auth/context')).status, 200)
})

t.test('the CSRF token of an ended session, and the tokens of the one before a new sign-in', async (t) => {
  const { browser, email, password } = await signedIn()
  const [jar, csrfToken] = [new Map(browser.jar), browser.csrfToken]
  t.equal((await browser.signIn({ email, password })).status, 200)
  t.not(browser.csrfToken, csrfToken)
  t.match((await change(browser, { 'x-csrf-token': csrfToken })).body, forbidden)
  t.equal((await change(browser)).status, 200)
  const before = openBrowser(freehold)
  for (const [name, value] of jar) before.jar.set(name, value)
  before.csrfToken = csrfToken
  t.match((await change(before)).body, unauthenticated, 'a new sign-in has ended it')
  t.match((await before.ask('POST', '/auth/refresh', { headers: cookieMode })).body, unauthenticated)
})

const foreign: [string, Headers][] = [
  ['another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
  ['a sister host', { origin: 'https://evil.example.com', 'sec-fetch-site': 'same-site' }],
  ['another port', { origin: 'http://localhost:4001', 'sec-fetch-site': 'same-site' }],
  ['a sandboxed frame', { origin: 'null' }],
  ['a listed origin with more behind it', { origin: 'https://app.example.com.evil.example' }],
  ['a listed origin in another spelling', { origin: 'HTTPS://APP.EXAMPLE.COM' }],
  ['no origin, but from elsewhere', { 'sec-fetch-site': 'cross-site' }],
  ['no origin, but from a sister host', { 'sec-fetch-site': 'same-site' }],
]
const known: [string, Headers][] = [
  ['our own page', { origin: own, 'sec-fetch-site': 'same-origin' }],
  ['a listed origin', { origin: 'https://app.example.com', 'sec-fetch-site': 'same-site' }],
  ['a browser that names no origin', { 'sec-fetch-site': 'same-origin' }],
  ['a program', {}],
]

t.test('login CSRF: no page from elsewhere signs anybody in, up, or refreshes', async (t) => {
  const { browser, email, password } = await signedIn()
  const signUpBody = { email: `x-${email}`, password, firstName: 'X' }
  const tries: [string, object | undefined][] = [
    ['/auth/login', { email, password }],
    ['/auth/register', signUpBody],
    ['/auth/refresh', undefined],
  ]
  for (const [name, headers] of foreign) {
    for (const [url, body] of tries) {
      const answer = await browser.ask('POST', url, { body, headers: { ...cookieMode, ...headers } })
      t.match(answer, { body: forbidden, headers: { 'set-cookie': undefined } }, `${url} from ${name}`)
    }
  }
  for (const [name, headers] of known) {
    const answer = await openBrowser(freehold).ask('POST', '/auth/login', {
      body: { email, password },
      headers: { ...cookieMode, ...headers },
    })
    t.equal(answer.status, 200, name)
  }
  t.equal((await browser.ask('POST', '/auth/refresh', { headers: cookieMode })).status, 200)
})

t.test(
  'with the right CSRF token, a page from elsewhere still changes nothing; bearer tokens ask no page',
  async (t) => {
    const { browser, token } = await signedIn()
    for (const [name, headers] of foreign) t.match((await change(browser, headers)).body, forbidden, name)
    for (const [name, headers] of known) t.equal((await change(browser, headers)).status, 200, name)
    const answer = await call('PATCH', '/auth/me', {
      token,
      body: { firstName: 'C' },
      headers: { origin: 'https://evil.example' },
    })
    t.equal(answer.status, 200)
  },
)

t.test('cookie tossing: two cookies of one name are refused, whichever is good', async (t) => {
  const { browser, email, password } = await signedIn()
  const access = browser.jar.get('freehold-access')
  const refresh = browser.jar.get('freehold-refresh')
  const thief = await signedIn()
  const stolen = thief.browser.jar.get('freehold-access')
  for (const pair of [
    [access, stolen],
    [stolen, access],
    [access, access],
    ['', access],
  ]) {
    const cookie = pair.map((value) => `freehold-access=${value}`).join('; ')
    t.match((await browser.ask('GET', '/auth/context', { headers: { cookie } })).body, unauthenticated)
  }
  const cookie = `freehold-refresh=x;freehold-refresh=${refresh}`
  for (const [url, body] of [
    ['/auth/refresh', undefined],
    ['/auth/login', { email, password }],
  ] as const) {
    const answer = await browser.ask('POST', url, { body, headers: { ...cookieMode, cookie } })
    t.match(answer, { body: unauthenticated, headers: { 'set-cookie': undefined } }, url)
  }
  for (const name of [
    'Freehold-Access',
    ' freehold-access-x',
    '__Host-freehold-access',
    'x-freehold-access',
  ]) {
    const one = await browser.ask('GET', '/auth/context', { headers: { cookie: `${name}=${access}` } })
    t.match(one.body, unauthenticated, `${name} is another cookie`)
  }
  t.equal((await browser.ask('GET', '/auth/context')).status, 200)
})

t.test('with warm caches the guard waits for nothing, by cookie as by token', async (t) => {
  const { browser } = await signedIn()
  await browser.ask('GET', '/auth/context')
  const { db } = service.master
  const session = service.grants.session
  t.teardown(() => Object.assign(service.grants, { session }))
  Object.assign(service.grants, { session: () => t.fail('a session was looked up') })
  t.match((await change(browser, { 'x-csrf-token': 'wrong' })).body, forbidden)
  t.ok(db)
})

t.test('the master keeps no CSRF token, and its rows do not give one', async (t) => {
  const { browser } = await signedIn()
  const rows = await service.master.db.selectFrom('sessions').selectAll().execute()
  const dump = rows
    .map((row) => JSON.stringify({ ...row, csrf: row.csrf_hash?.toString('base64url') }))
    .join()
  t.notOk(dump.includes(String(browser.csrfToken).slice(4)))
})
