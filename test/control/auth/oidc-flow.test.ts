import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { type Claims, type Lies, startHonestProvider, startLyingProvider } from '../../helpers/providers.ts'

const publicUrl = 'http://localhost:4000'
const liar = await startLyingProvider(t, 'LIAR')
const honest = await startHonestProvider(t, 'HONEST', { redirectUri: `${publicUrl}/auth/honest/callback` })
const { app, call, service } = await startFreehold(t, { ...liar.env, ...honest.env })
const open = () => openBrowser(app, publicUrl)

let counter = 0
/** Somebody whom the provider vouches for, and whom nobody here knows. */
const stranger = (): Claims => {
  counter += 1
  return { sub: `subject-${counter}`, email: `stranger-${counter}@example.com`, email_verified: true }
}
const setUp = (lies: Lies = {}): void => {
  Object.assign(liar.says, { claims: stranger(), lies })
}

t.test('an address that says something twice is refused', async (t) => {
  for (const name of ['iss', 'state', 'code', 'error']) {
    setUp({ redirect: (url: URL) => [1, 2].map(() => url.searchParams.append(name, 'again')) })
    t.match((await open().visit('/auth/liar')).body, { status: 400, code: 'validation_failed' }, name)
  }
})

/** A sign-in that came as far as the way back: its browser, and the address it was about to go to. */
const halfway = async (path = '/auth/liar') => {
  setUp()
  const browser = open()
  const { url } = await browser.visit(path, { stop: ({ pathname }) => pathname.endsWith('/callback') })
  return { browser, url }
}
const notBegun = { status: 401, code: 'unauthenticated', detail: /was not begun in this browser/ }

t.test('a state that is missing, foreign, changed or empty is refused', async (t) => {
  const [mine, theirs] = [await halfway(), await halfway()]
  const state = mine.url.searchParams.get('state') ?? ''
  const other = theirs.url.searchParams.get('state') ?? ''
  for (const value of [undefined, '', other, state.slice(0, -1), `${state}A`, state.toUpperCase()]) {
    const url = new URL(mine.url)
    if (value === undefined) url.searchParams.delete('state')
    else url.searchParams.set('state', value)
    t.match((await mine.browser.visit(url.href)).body, notBegun, String(value))
  }
  t.equal((await mine.browser.visit(mine.url.href)).status, 200, 'none of it has spent the sign-in')
})

t.test('a sign-in that another browser began is refused (login CSRF)', async (t) => {
  const { browser, url } = await halfway()
  t.match((await open().visit(url.href)).body, notBegun)
  const victim = await halfway()
  t.match((await victim.browser.visit(url.href)).body, notBegun)
  t.equal((await browser.visit(url.href)).status, 200)
})

t.test('a sign-in comes back once, however often, even if the provider takes its code again', async (t) => {
  const { browser, url } = await halfway()
  const jar = browser.cookies.get('localhost:4000') ?? new Map()
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => call('GET', url.pathname + url.search, { headers: { cookie } })),
  )
  t.strictSame(answers.map(({ status }) => status).toSorted(), [200, ...Array(7).fill(401)])
  for (const { status, body } of answers) if (status === 401) t.match(body, notBegun)
  t.match((await call('GET', url.pathname + url.search, { headers: { cookie } })).body, notBegun)
})

t.test('a sign-in that took longer than ten minutes is refused', async (t) => {
  const { url } = await halfway()
  const flow = {
    provider: 'liar',
    returnTo: null,
    mode: 'bearer',
    challenge: null,
    link: null,
    nonce: 'n',
    verifier: 'v'.repeat(43),
  }
  const seal = (expiresAt: number) =>
    service.box
      .seal(JSON.stringify({ ...flow, state: url.searchParams.get('state'), expiresAt }), 'traveller:sign-in')
      .toString('base64url')
  const visit = (value: string) =>
    call('GET', url.pathname + url.search, { headers: { cookie: `freehold-sign-in=${value}` } })
  t.match((await visit(seal(Date.now() - 1))).body, notBegun)
  t.match(
    (await visit(seal(Date.now() + 60_000))).body,
    { detail: /proves nothing/ },
    'only the age was wrong',
  )
})

t.test('a sign-in with one provider does not come back from another', async (t) => {
  const { browser, url } = await halfway()
  const elsewhere = new URL(url.href.replace('/auth/liar/', '/auth/honest/'))
  t.match((await browser.visit(elsewhere.href)).body, notBegun)
})

t.test("a code of somebody else's sign-in does not fit the verifier of one's own (PKCE)", async (t) => {
  honest.people.set('mallory', { email: 'mallory@example.com', email_verified: true })
  honest.people.set('victim', { email: 'victim@example.com', email_verified: true })
  const stop = ({ pathname }: URL) => pathname.endsWith('/callback')
  const mallory = await open().visit('/auth/honest', { login: 'mallory', stop })
  const browser = open()
  const victim = await browser.visit('/auth/honest', { login: 'victim', stop })
  victim.url.searchParams.set('code', mallory.url.searchParams.get('code') ?? '')
  t.match((await browser.visit(victim.url.href)).body, { status: 401, code: 'unauthenticated' })
})

t.test(
  'a provider takes no code without the verifier, nor one that was used (PKCE downgrade, replay)',
  async (t) => {
    honest.people.set('down', { email: 'down@example.com', email_verified: true })
    const stop = ({ pathname }: URL) => pathname.endsWith('/callback')
    const browser = open()
    const { url } = await browser.visit('/auth/honest', { login: 'down', stop })
    const code = url.searchParams.get('code') ?? ''
    const trade = async (more: Record<string, string>) => {
      const form = {
        grant_type: 'authorization_code',
        code,
        redirect_uri: `${publicUrl}/auth/honest/callback`,
        ...more,
      }
      const authorization = `Basic ${Buffer.from('freehold:onlyForTests').toString('base64')}`
      const body = new URLSearchParams(form)
      return (await fetch(`${honest.issuer}/token`, { method: 'POST', headers: { authorization }, body }))
        .status
    }
    t.equal(await trade({}), 400)
    const again = await browser.visit('/auth/honest', { login: 'down', stop })
    t.equal((await browser.visit(again.url.href)).status, 200)
    t.equal(await trade({ code: again.url.searchParams.get('code') ?? '' }), 400)
  },
)

t.test(
  'every kind of secret is useless as a state, a code or a ticket, and the other way round',
  async (t) => {
    const { url, browser } = await halfway('/auth/liar?returnTo=/in')
    const state = url.searchParams.get('state') ?? ''
    const cookie = browser.cookies.get('localhost:4000')?.get('freehold-sign-in') ?? ''
    const { says } = await browser.visit(url.href, { stop: ({ pathname }) => pathname === '/in' })
    const code = says.code ?? ''
    setUp()
    const session = (await open().visit('/auth/liar')).body
    const token = String(session.accessToken)
    for (const secret of [state, cookie, code, String(session.refreshToken), token]) {
      if (secret !== code)
        t.match(String((await call('POST', '/auth/exchange', { body: { code: secret } })).status), /^4/)
      t.equal((await call('GET', `/auth/liar?ticket=${secret}`)).status, 410)
      t.equal((await call('POST', '/auth/identities/link', { token, body: { code: secret } })).status, 410)
      t.equal(
        (await call('POST', '/auth/identities/confirm', { body: { token: secret.slice(0, 200) } })).status,
        410,
      )
      if (secret !== token) t.equal((await call('GET', '/auth/context', { token: secret })).status, 401)
      if (secret !== session.refreshToken)
        t.equal((await call('POST', '/auth/refresh', { body: { refreshToken: secret } })).status, 401)
      t.equal(
        (await call('POST', '/auth/email/verify', { body: { token: secret.slice(0, 200) } })).status,
        410,
      )
      if (secret === cookie) continue
      const headers = { cookie: `freehold-sign-in=${secret}` }
      t.equal((await call('GET', `/auth/liar/callback?state=${state}&code=x`, { headers })).status, 401)
    }
    t.equal(
      (await call('POST', '/auth/exchange', { body: { code } })).status,
      200,
      'nothing of it has spent the code',
    )
  },
)

t.test('with sign-up closed, a provider opens no account and lets the known in', async (t) => {
  const { service: closed, app: door } = await startFreehold(t, { ...honest.env, SIGN_UP: 'closed' })
  const [login, email] = ['known', 'known@example.com']
  honest.people.set(login, { email, email_verified: true })
  const browser = openBrowser(door, publicUrl)
  t.match((await browser.visit('/auth/honest', { login })).body, { status: 403, code: 'forbidden' })
  const id = crypto.randomUUID()
  await closed.master.db.insertInto('people').values({ id, email, first_name: 'Known' }).execute()
  const identity = { id: crypto.randomUUID(), person_id: id, issuer: honest.issuer, subject: login }
  await closed.master.db.insertInto('identities').values(identity).execute()
  t.match((await openBrowser(door, publicUrl).visit('/auth/honest', { login })).user, { id })
})
