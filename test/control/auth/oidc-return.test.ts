import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { readReturnTo } from '../../../src/control/identities/return-to.ts'
import { guardedFetch, mayAsk } from '../../../src/oidc/guarded-fetch.ts'
import { createProvider } from '../../../src/oidc/provider.ts'
import { startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { startHonestProvider } from '../../helpers/providers.ts'

const publicUrl = 'http://localhost:4000'
const google = await startHonestProvider(t, 'GOOGLE', { redirectUri: `${publicUrl}/auth/google/callback` })

/** A provider that answers as it is told, and counts how often it is asked. */
const startSilent = async () => {
  const state = { asked: 0, answer: (): [number, Record<string, string>, string] => [503, {}, ''] }
  const server = createServer((_request, response) => {
    state.asked += 1
    const [status, headers, body] = state.answer()
    response.writeHead(status, headers).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { state, issuer: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}
const { state: moody, issuer } = await startSilent()
const settings = { OIDC_MOODY_ISSUER: issuer, OIDC_MOODY_CLIENT_ID: 'i', OIDC_MOODY_CLIENT_SECRET: 's' }

const postgres = await startTestPostgres(t)
const env = { ...google.env, ...settings, RETURN_ORIGINS: 'https://app.example.com' }
const { app, call } = await startNode(t, postgres, env)
const tls = await startNode(t, postgres, { ...google.env, PUBLIC_URL: 'https://api.example.com' })
const bare = await startNode(t, postgres)
const open = () => openBrowser(app, publicUrl)
google.people.set('ann', { email: 'ann@example.com', email_verified: true })

const refused = [
  '//evil.example',
  '///evil.example',
  '/\\evil.example',
  '\\\\evil.example',
  '\\/evil.example',
  '/\t/evil.example',
  '/\n/evil.example',
  '\t//evil.example',
  ' //evil.example',
  'https:evil.example',
  'https:/evil.example',
  'https:\\\\evil.example',
  'https:///evil.example',
  'https://evil.example',
  'HTTPS://EVIL.EXAMPLE',
  'https://app.example.com@evil.example',
  'https://user@app.example.com/',
  'https://user:word@app.example.com/',
  'https://app.example.com.evil.example',
  'https://app.example.com:444/',
  'http://app.example.com/',
  'https://evil.example/https://app.example.com',
  'https://app.example.com%2eevil.example',
  'https://app.example.com\\@evil.example',
  'https://evil.example#https://app.example.com',
  'http://localhost:4001/',
  'http://localhost:4000@evil.example/',
  'http://localhost/',
  'javascript:alert(1)',
  'data:text/html,x',
  'blob:https://app.example.com/x',
  'evil.example',
  'welcome',
  '?x',
  '/welcome#code=x',
  `/${'a'.repeat(1600)}`,
  `/${'\u00e4'.repeat(600)}`,
  '/\u0000',
  '/\u202ewelcome',
]
t.test('people are sent nowhere but to us and to the origins that the operator names', async (t) => {
  for (const returnTo of refused) {
    const { body, headers } = await call('GET', `/auth/google?returnTo=${encodeURIComponent(returnTo)}`)
    t.match(body, { status: 400, code: 'validation_failed' }, JSON.stringify(returnTo.slice(0, 60)))
    t.equal(headers['set-cookie'], undefined)
  }
  t.equal((await call('GET', '/auth/google?returnTo=/a&returnTo=/b')).status, 400)
  t.equal((await call('GET', '/auth/google?returnTo=')).status, 400)
})

t.test('what is allowed goes exactly where a browser would read it to go', async (t) => {
  const read = (text: string) => readReturnTo(text, `${publicUrl}/prefix`, ['https://app.example.com'])
  const places: [from: string, to: string][] = [
    ['/', 'http://localhost:4000/'],
    ['/welcome?a=b&c=%2F', 'http://localhost:4000/welcome?a=b&c=%2F'],
    ['/%2f/evil.example', 'http://localhost:4000/%2f/evil.example'],
    ['/..//evil.example', 'http://localhost:4000//evil.example'],
    ['/@evil.example', 'http://localhost:4000/@evil.example'],
    ['http://LOCALHOST:4000/x', 'http://localhost:4000/x'],
    ['https://app.example.com', 'https://app.example.com/'],
    ['https://app.example.com:443/in', 'https://app.example.com/in'],
  ]
  for (const [from, to] of places) t.equal(read(from), to, from)
  const { says, url } = await open().visit('/auth/google?returnTo=/..//evil.example', {
    login: 'ann',
    stop: ({ hash }) => hash !== '',
  })
  t.equal(url.host, 'localhost:4000')
  t.match(says, { code: /^fhc_/ })
})

t.test('with mode=cookie the session is in cookies, and no code in the address', async (t) => {
  const browser = open()
  const place = await browser.visit('/auth/google?mode=cookie&returnTo=/in', {
    login: 'ann',
    stop: ({ pathname }) => pathname === '/in',
  })
  t.equal(place.url.href, `${publicUrl}/in`)
  const jar = browser.cookies.get('localhost:4000') ?? new Map()
  t.strictSame([...jar.keys()].toSorted(), ['freehold-access', 'freehold-refresh'])
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const context = await call('GET', '/auth/context', { headers: { cookie } })
  t.match(context.body, { user: { email: 'ann@example.com' }, session: { amr: ['fed'] }, csrfToken: /^fhx_/ })
  const { status, body } = await open().visit('/auth/google?mode=cookie', { login: 'ann' })
  t.equal(status, 200)
  t.match(body, { user: { email: 'ann@example.com' }, csrfToken: /^fhx_/ })
  t.equal(body.accessToken, undefined)
})

t.test('a code is exchanged for cookies where the program asks for them', async (t) => {
  const { says } = await open().visit('/auth/google?returnTo=https://app.example.com/', { login: 'ann' })
  const answer = await call('POST', '/auth/exchange', {
    body: { code: says.code },
    headers: { 'x-auth-mode': 'cookie' },
  })
  t.equal(answer.status, 200)
  t.match(answer.body, { csrfToken: /^fhx_/ })
  t.match(answer.headers['set-cookie'], [/^freehold-access=/, /^freehold-refresh=/])
})

t.test('a session in cookies that another one takes the place of is ended', async (t) => {
  const codeOf = async (): Promise<string> =>
    (await open().visit('/auth/google?returnTo=https://app.example.com/', { login: 'ann' })).says.code ?? ''
  const cookiesFrom = (answer: { headers: Record<string, unknown> }): string =>
    [answer.headers['set-cookie']]
      .flat()
      .map((line) => String(line).split(';', 1)[0])
      .join('; ')
  const mode = { 'x-auth-mode': 'cookie' }
  const first = cookiesFrom(
    await call('POST', '/auth/exchange', { body: { code: await codeOf() }, headers: mode }),
  )
  const context = async (cookie: string) =>
    (await call('GET', '/auth/context', { headers: { cookie } })).status
  t.equal(await context(first), 200)
  const second = cookiesFrom(
    await call('POST', '/auth/exchange', {
      body: { code: await codeOf() },
      headers: { ...mode, cookie: first },
    }),
  )
  t.equal(await context(second), 200)
  t.equal(await context(first), 401)
})

t.test('a sign-in that fails gives no session in cookies either', async (t) => {
  google.people.set('unproved', { email: 'unproved@example.com', email_verified: false })
  const browser = open()
  const place = await browser.visit('/auth/google?mode=cookie&returnTo=/in', {
    login: 'unproved',
    stop: ({ pathname }) => pathname === '/in',
  })
  t.match(place.says, { error: 'email_not_verified', error_description: String })
  t.strictSame([...(browser.cookies.get('localhost:4000') ?? new Map()).keys()], [])
})

t.test('a challenge without a place for the code, or with cookies, is refused', async (t) => {
  const challenge = 'c'.repeat(43)
  for (const query of [
    `challenge=${challenge}`,
    `challenge=${challenge}&returnTo=/in&mode=cookie`,
    'mode=other',
  ]) {
    t.match((await call('GET', `/auth/google?${query}`)).body, { status: 400, code: 'validation_failed' })
  }
})

t.test('over TLS the cookie is Secure and bound to its host', async (t) => {
  const { headers } = await tls.call('GET', '/auth/google')
  t.match(
    headers['set-cookie'],
    /^__Host-freehold-sign-in=[\w-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
  )
})

t.test('two cookies of the name are refused: one was planted', async (t) => {
  const headers = { cookie: 'freehold-sign-in=a; freehold-sign-in=b' }
  t.match((await call('GET', '/auth/google/callback?state=x&code=y', { headers })).body, {
    status: 401,
    code: 'unauthenticated',
  })
})

t.test('where Google is not set up, its address says what is missing', async (t) => {
  for (const path of ['/auth/google', '/auth/google/callback']) {
    t.match((await bare.call('GET', path)).body, {
      status: 404,
      code: 'not_found',
      detail: /OIDC_GOOGLE_CLIENT_ID/,
    })
  }
  t.strictSame((await bare.call('GET', '/auth/config')).body.providers, [])
})

t.test(
  'a provider that is away, or answers nonsense, costs its own sign-in only, until it is back',
  async (t) => {
    const away = { status: 503, code: 'provider_unavailable' }
    const json = { 'content-type': 'application/json' }
    const document = (more: object) =>
      JSON.stringify({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        ...more,
      })
    const nonsense: [name: string, answer: [number, Record<string, string>, string]][] = [
      ['trouble of its own', [503, {}, '']],
      ['too many requests', [429, {}, '']],
      ['not found', [404, json, '{}']],
      ['no JSON', [200, { 'content-type': 'text/html' }, '<html>']],
      ['another issuer', [200, json, document({ issuer: 'https://accounts.google.com' })]],
      ['a redirect', [302, { location: `${issuer}/elsewhere` }, '']],
      ['a page without TLS', [200, json, document({ authorization_endpoint: 'http://evil.example/' })]],
      ['no page', [200, json, document({ authorization_endpoint: undefined })]],
      ['a page that is no page', [200, json, document({ authorization_endpoint: 'javascript:alert(1)' })]],
      ['300 kB', [200, json, document({ more: 'x'.repeat(300_000) })]],
    ]
    for (const [name, answer] of nonsense) {
      moody.answer = () => answer
      const { body, headers } = await call('GET', '/auth/moody')
      t.match(body, away, name)
      t.equal(headers['retry-after'], '10', name)
      t.equal(headers['set-cookie'], undefined, name)
    }
    t.equal((await call('GET', '/auth/google')).status, 302)
    moody.answer = () => [200, json, document({})]
    const before = moody.asked
    const starts = await Promise.all(Array.from({ length: 8 }, () => call('GET', '/auth/moody')))
    t.ok(starts.every(({ status }) => status === 302))
    t.equal(moody.asked, before + 1, 'the document is read once for all, and kept')
    moody.answer = () => [503, {}, '']
    t.equal((await call('GET', '/auth/moody')).status, 302, 'what is known goes on working')
  },
)

t.test('a provider that goes away in between is told apart from a lie', async (t) => {
  const provider = createProvider({ name: 'x', label: 'X', issuer, clientId: 'i', clientSecret: 's' })
  moody.answer = () => [
    200,
    { 'content-type': 'application/json' },
    JSON.stringify({ issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/token` }),
  ]
  const binding = { state: 's', nonce: 'n', verifier: 'v'.repeat(43) }
  await provider.begin(`${publicUrl}/auth/x/callback`, binding)
  moody.answer = () => [502, {}, '']
  const back = new URL(`${publicUrl}/auth/x/callback?code=c&state=s`)
  await t.rejects(provider.finish(back, binding), { code: 'provider_unavailable', retryAfter: 10 })
})

t.test('no request leaves for addresses that are nobody else’s business', async (t) => {
  const far = new URL('https://idp.example')
  const near = new URL('http://127.0.0.1:1')
  const no = [
    'http://idp.example/',
    'https://127.0.0.1/',
    'https://localhost/',
    'https://x.localhost/',
    'https://localhost./',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://[fe80::1]/',
    'https://[fd00:ec2::254]/',
    'https://[::ffff:169.254.169.254]/',
    'https://0.0.0.0/',
    'https://[::]/',
    'ftp://idp.example/',
    'file:///etc/passwd',
  ]
  for (const address of no) t.equal(mayAsk(new URL(address), far), false, address)
  t.equal(mayAsk(new URL('https://keys.idp.example/jwks'), far), true)
  t.equal(mayAsk(new URL('http://127.0.0.1:2/jwks'), near), true)
  t.equal(mayAsk(new URL('https://169.254.169.254/'), near), false)
  const options = { method: 'GET', headers: {}, body: undefined, redirect: 'manual' } as const
  const before = moody.asked
  await t.rejects(guardedFetch(far)(`${issuer}/`, options), { name: 'ProviderUnreachable' })
  t.equal(moody.asked, before)
})
