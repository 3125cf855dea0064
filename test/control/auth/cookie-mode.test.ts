import { sql } from 'kysely'
import t from 'tap'
import { createSystemUser } from '../../../src/access/system-users.ts'
import { type Browser, cookiesOf, openBrowser } from '../../helpers/browser.ts'
import { type Freehold, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const local = await startNode(t, postgres)
const elsewhere = { PUBLIC_URL: 'https://api.example.com', TRUSTED_PROXIES: '192.0.2.0/24' }
const open = await startNode(t, postgres, elsewhere)
const { service, signUp, newTenant, call } = local
const { db } = service.master

const cookieMode = { 'x-auth-mode': 'cookie' }
const context = (browser: Browser) => browser.ask('GET', '/auth/context')
const refresh = (browser: Browser) => browser.ask('POST', '/auth/refresh', { headers: cookieMode })

/** A browser of a new person who is signed in there. */
const signedIn = async (at: Freehold = local) => {
  const person = await at.signUp()
  const browser = openBrowser(at)
  const { status } = await browser.signIn(person)
  if (status !== 200) throw new Error(`signing in was answered with ${status}`)
  return { ...person, browser }
}
/** Lets the leeway of every session pass. */
const passLeeway = () => sql`update sessions set rotated_at = rotated_at - interval '11 seconds'`.execute(db)

t.test('signing in and up: cookies instead of tokens, and a CSRF token', async (t) => {
  const person = await signUp()
  const browser = openBrowser(local)
  const body = { email: `new-${person.email}`, password: person.password, firstName: 'New' }
  const answers = [
    await browser.ask('POST', '/auth/register', { headers: cookieMode, body }),
    await browser.signIn(person),
  ]
  for (const [n, answer] of answers.entries()) {
    t.equal(answer.status, n === 0 ? 201 : 200, answer.text)
    t.match(answer.body, { user: {}, tenants: [], csrfToken: /^fhx_.{43}$/, expiresIn: 900 })
    t.notMatch(answer.text, /fhr_|accessToken|refreshToken|tokenType/)
    t.strictSame([...cookiesOf(answer).keys()], ['freehold-access', 'freehold-refresh'])
  }
  t.match((await context(browser)).body, { user: { email: person.email } })
})

t.test('without the header nothing is set, whatever cookies are sent', async (t) => {
  const { browser, email, password } = await signedIn()
  const answer = await browser.ask('POST', '/auth/login', { body: { email, password } })
  t.match(answer.body, { accessToken: String, refreshToken: /^fhr_/ })
  t.equal(answer.body.csrfToken, undefined)
  t.equal(answer.headers['set-cookie'], undefined)
  const wrong = await call('POST', '/auth/login', {
    body: { email, password },
    headers: { 'x-auth-mode': 'cookies' },
  })
  t.match(wrong.body, { status: 400, code: 'validation_failed' })
})

t.test('where people come by TLS, every cookie is __Host-, Secure, HttpOnly and SameSite', async (t) => {
  const { browser, email, password } = await signedIn(open)
  const answers = [
    await browser.signIn({ email, password }),
    await refresh(browser),
    await browser.ask('POST', '/auth/switch', { body: { tenant: null } }),
    await browser.ask('POST', '/auth/logout'),
  ]
  for (const answer of answers) {
    const cookies = cookiesOf(answer)
    t.strictSame([...cookies.keys()], ['__Host-freehold-access', '__Host-freehold-refresh'])
    for (const { attributes } of cookies.values()) {
      t.strictSame(attributes.slice(1), ['Path=/', 'HttpOnly', 'SameSite=Strict', 'Secure'])
      t.match(attributes[0], /^Max-Age=\d+$/)
    }
  }
})

t.test('on plain http to this machine only, they go without prefix and Secure', async (t) => {
  const { browser, email, password } = await signedIn()
  for (const { attributes } of cookiesOf(await browser.signIn({ email, password })).values()) {
    t.strictSame(attributes.slice(1), ['Path=/', 'HttpOnly', 'SameSite=Strict'])
  }
})

t.test('x-forwarded-* from an untrusted peer, or a trusted one, changes no cookie', async (t) => {
  for (const [node, proto] of [[open, 'http'] as const, [local, 'https'] as const]) {
    const { email, password } = await node.signUp()
    const setCookie = async (remoteAddress: string, headers: Record<string, string>) => {
      const answer = await node.app.inject({
        method: 'POST',
        url: '/auth/login',
        remoteAddress,
        headers: { ...cookieMode, ...headers },
        payload: { email, password },
      })
      return [answer.headers['set-cookie']].flat().map((line) => String(line).replace(/=[^;]*/, ''))
    }
    const plain = await setCookie('203.0.113.9', {})
    t.equal(plain.length, 2)
    const forwarded = {
      forwarded: `proto=${proto};host=other.example`,
      'x-forwarded-proto': proto,
      'x-forwarded-host': 'localhost',
      'x-forwarded-ssl': proto === 'https' ? 'on' : 'off',
    }
    for (const address of ['203.0.113.9', '192.0.2.9']) {
      t.strictSame(await setCookie(address, forwarded), plain, `${proto} from ${address}`)
    }
  }
})

t.test('system users get no cookies: POST /auth/token never sets one', async (t) => {
  const { id: personId, clientSecret: secret } = await db
    .transaction()
    .execute((trx) =>
      createSystemUser(trx, { name: 'Robot', email: undefined, serviceType: 'test', tenantId: null }),
    )
  for (const [client_secret, status] of [[secret, 200] as const, ['fhs_wrong', 401] as const]) {
    const answer = await call('POST', '/auth/token', {
      headers: { ...cookieMode, cookie: 'freehold-access=x; freehold-refresh=y' },
      body: { grant_type: 'client_credentials', client_id: personId, client_secret },
    })
    t.equal(answer.status, status, answer.text)
    t.equal(answer.headers['set-cookie'], undefined)
    if (status !== 200) continue
    const browser = openBrowser(local)
    browser.jar.set('freehold-access', String(answer.body.access_token))
    t.match((await context(browser)).body, { status: 401, code: 'unauthenticated' }, 'nor is its token one')
  }
})

t.test(
  'refresh: new cookies, the same CSRF token, the chosen tenant; the body stays empty of tokens',
  async (t) => {
    const { email, password, tenantId } = await newTenant()
    const browser = openBrowser(local)
    await browser.signIn({ email, password })
    const { csrfToken } = browser
    const before = new Map(browser.jar)
    // After a reload the page knows nothing, and the access token may be gone.
    browser.csrfToken = undefined
    browser.jar.delete('freehold-access')
    t.match((await context(browser)).body, { status: 401, code: 'token_expired' })
    const answer = await refresh(browser)
    t.strictSame(answer.body, { csrfToken, expiresIn: 900 })
    t.notSame(browser.jar, before)
    t.match((await context(browser)).body, { tenant: { id: tenantId }, csrfToken })
  },
)

t.test('switch answers in cookies what the session is in cookies', async (t) => {
  const { email, password, slug, tenantId } = await newTenant()
  const browser = openBrowser(local)
  await browser.signIn({ email, password })
  const out = await browser.ask('POST', '/auth/switch', { body: { tenant: null } })
  t.match(out.body, { tenant: null, csrfToken: browser.csrfToken, accessToken: undefined })
  t.match((await browser.ask('GET', '/api/projects')).body, { code: 'tenant_required' })
  const into = await browser.ask('POST', '/auth/switch', { body: { tenant: slug } })
  t.match(into.body, { tenant: { id: tenantId }, role: 'Admin' })
  t.notMatch(into.text, /fhr_|accessToken/)
  t.equal((await browser.ask('POST', '/api/projects', { body: { name: 'By cookie' } })).status, 201)
})

for (const [name, end] of [
  ['logout', (b: Browser) => b.ask('POST', '/auth/logout')],
  ['logout-all', (b: Browser) => b.ask('POST', '/auth/logout-all')],
  [
    'ending this session in the list',
    async (b: Browser) => {
      const { session } = (await context(b)).body as unknown as { session: { id: string } }
      return b.ask('DELETE', `/auth/sessions/${session.id}`)
    },
  ],
] as const) {
  t.test(`${name} takes the cookies back, and they are good for nothing any more`, async (t) => {
    const { browser } = await signedIn()
    const kept = new Map(browser.jar)
    t.equal((await end(browser)).status, 204)
    t.equal(browser.jar.size, 0)
    for (const [cookie, value] of kept) browser.jar.set(cookie, value)
    t.match((await context(browser)).body, { status: 401, code: 'unauthenticated' })
    t.match((await refresh(browser)).body, { status: 401, code: 'unauthenticated' })
  })
}

t.test('a bearer session leaves the cookies of another alone when it ends', async (t) => {
  const { browser, token } = await signedIn()
  const answer = await browser.ask('POST', '/auth/logout', { token })
  t.match(answer, { status: 204, headers: { 'set-cookie': undefined } })
  t.equal((await context(browser)).status, 200)
})

t.test('two tabs share the jar: refreshing at once, they get one successor and both go on', async (t) => {
  const { browser, personId } = await signedIn()
  for (let round = 0; round < 5; round += 1) {
    await passLeeway()
    const [one, two] = [new Map(browser.jar), browser.jar].map((jar) => {
      const tab = openBrowser(local)
      for (const [name, value] of jar) tab.jar.set(name, value)
      return tab
    }) as [Browser, Browser]
    const answers = await Promise.all([...Array(8)].map((_, n) => refresh(n % 2 === 0 ? one : two)))
    t.strictSame([...new Set(answers.map(({ status }) => status))], [200])
    const successors = answers.map((answer) => cookiesOf(answer).get('freehold-refresh')?.value)
    t.equal(new Set(successors).size, 1)
    t.equal(new Set(answers.map(({ body }) => body.csrfToken)).size, 1)
    for (const [name, value] of (round % 2 === 0 ? one : two).jar) browser.jar.set(name, value)
    t.equal((await context(browser)).status, 200)
  }
  const reused = await db
    .selectFrom('sessions')
    .select('id')
    .where('person_id', '=', personId)
    .where('end_reason', '=', 'reuse')
    .execute()
  t.strictSame(reused, [])
})

t.test('a spent refresh cookie, later than the leeway, ends the session', async (t) => {
  const { browser } = await signedIn()
  const thief = openBrowser(local)
  for (const [name, value] of browser.jar) thief.jar.set(name, value)
  await refresh(browser)
  await passLeeway()
  const answer = await refresh(thief)
  t.match(answer.body, { status: 401, code: 'token_reused' })
  t.equal(answer.headers['set-cookie'], undefined, 'a late answer takes nobody’s new cookies')
  t.match((await context(browser)).body, { status: 401 })
})
