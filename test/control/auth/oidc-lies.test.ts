import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import t, { type Test } from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { type Claims, type Lies, startHonestProvider, startLyingProvider } from '../../helpers/providers.ts'

const publicUrl = 'http://localhost:4000'
const liar = await startLyingProvider(t, 'LIAR')
const honest = await startHonestProvider(t, 'HONEST', { redirectUri: `${publicUrl}/auth/honest/callback` })
const { app, call, service } = await startFreehold(t, { ...liar.env, ...honest.env })
const { db } = service.master
const open = () => openBrowser(app, publicUrl)

const people = async (): Promise<number> => (await db.selectFrom('people').select('id').execute()).length
const failures = async (): Promise<number> =>
  (await db.selectFrom('audit_log').select('id').where('action', '=', 'login.failed').execute()).length

let counter = 0
/** Somebody whom the provider vouches for, and whom nobody here knows. */
const stranger = (): Claims => {
  counter += 1
  return { sub: `subject-${counter}`, email: `stranger-${counter}@example.com`, email_verified: true }
}

const signIn = (claims: Claims, lies: Lies = {}) => {
  Object.assign(liar.says, { claims, lies })
  return open().visit('/auth/liar')
}

/** The lie is refused, leaves nothing behind but an audit entry, and without it the same person gets in. */
const refuses = async (
  t: Test,
  lies: Lies,
  { claims = stranger(), problem = { status: 401, code: 'unauthenticated' } as Claims } = {},
): Promise<void> => {
  const [before, failed] = [await people(), await failures()]
  t.match((await signIn(claims, lies)).body, problem)
  t.equal(await people(), before, 'nobody was made')
  t.equal(await failures(), failed + 1, 'the failure is in the audit log')
}

const now = () => Math.floor(Date.now() / 1000)
const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs the payload of the ID token anew, in another way. */
const forge =
  (header: Claims, signature: (input: string) => Buffer): NonNullable<Lies['response']> =>
  (body) => {
    const [, payload = ''] = String(body.id_token).split('.')
    const input = `${base64url({ typ: 'JWT', ...header })}.${payload}`
    body.id_token = `${input}.${signature(input).toString('base64url')}`
  }

const ownKey = () => liar.server.issuer.keys.toJSON(true)[0] as Claims & { kid: string }
const withKey = (key: KeyObject) => (input: string) => sign('sha256', Buffer.from(input), key)

t.test('the truth is believed', async (t) => {
  const claims = stranger()
  const { status, user } = await signIn(claims)
  t.equal(status, 200)
  t.equal(user.email, claims.email)
})

const claimLies: [name: string, change: (payload: Claims) => void][] = [
  ['for another audience', (payload) => Object.assign(payload, { aud: 'somebody-else' })],
  ['for us and others, without saying for whom', (p) => Object.assign(p, { aud: [p.aud, 'somebody-else'] })],
  ['for us and others, meant for them', (p) => Object.assign(p, { aud: [p.aud, 'other'], azp: 'other' })],
  ['of another issuer', (payload) => Object.assign(payload, { iss: 'https://accounts.google.com' })],
  [
    'of the issuer in another case',
    (payload) => Object.assign(payload, { iss: liar.issuer.replace('http', 'HTTP') }),
  ],
  ['with the nonce of another sign-in', (payload) => Object.assign(payload, { nonce: 'another' })],
  ['without a nonce', (payload) => delete payload.nonce],
  ['that has expired', (payload) => Object.assign(payload, { exp: now() - 60, iat: now() - 120 })],
  ['that expires in words', (payload) => Object.assign(payload, { exp: '9999999999' })],
  ['that never expires', (payload) => delete payload.exp],
  ['that is not valid yet', (payload) => Object.assign(payload, { nbf: now() + 300 })],
  ['without a subject', (payload) => delete payload.sub],
  ['with an empty subject', (payload) => Object.assign(payload, { sub: '' })],
  ['with a number as subject', (payload) => Object.assign(payload, { sub: 7 })],
  ['with a subject of 256 characters', (payload) => Object.assign(payload, { sub: 'x'.repeat(256) })],
  ['with a subject that holds a zero byte', (payload) => Object.assign(payload, { sub: 'a\u0000b' })],
]
for (const [name, change] of claimLies) {
  t.test(`an ID token ${name} is refused`, (t) => refuses(t, { token: ({ payload }) => change(payload) }))
}

t.test('an ID token that is not signed (alg none, in any case) is refused', async (t) => {
  for (const alg of ['none', 'None', 'NONE'])
    await refuses(t, { response: forge({ alg }, () => Buffer.alloc(0)) })
})

t.test('an ID token signed by HS256 with the public key, or with our own secret, is refused', async (t) => {
  const { createHmac } = await import('node:crypto')
  const pem = createPublicKey({ key: ownKey(), format: 'jwk' } as never).export({
    type: 'spki',
    format: 'pem',
  })
  for (const key of [String(pem), 'onlyForTests']) {
    const response = forge({ alg: 'HS256' }, (input) => createHmac('sha256', key).update(input).digest())
    await refuses(t, { response })
    const metadata = (body: Claims) =>
      Object.assign(body, { id_token_signing_alg_values_supported: ['HS256', 'none'] })
    await refuses(t, { response, metadata })
  }
})

t.test('an ID token signed with another key is refused, whatever key it names', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const { kid } = ownKey()
  await refuses(t, { response: forge({ alg: 'RS256', kid }, withKey(privateKey)) })
  await refuses(t, { response: forge({ alg: 'RS256', kid: 'unheard-of' }, withKey(privateKey)) })
  const jwk = privateKey.export({ format: 'jwk' })
  await refuses(t, {
    response: forge({ alg: 'RS256', kid, jwk: { kty: jwk.kty, n: jwk.n, e: jwk.e } }, withKey(privateKey)),
  })
})

t.test('an ID token with an unknown crit, changed bits, or no signature at all is refused', async (t) => {
  const key = createPrivateKey({ key: ownKey(), format: 'jwk' } as never)
  const { kid } = ownKey()
  await refuses(t, { response: forge({ alg: 'RS256', kid, crit: ['x'], x: 1 }, withKey(key)) })
  await refuses(t, {
    response: (body) => {
      const [header, payload, signature = ''] = String(body.id_token).split('.')
      const flipped = Buffer.from(signature, 'base64url').map((byte, i) => (i === 9 ? byte ^ 1 : byte))
      body.id_token = [header, payload, Buffer.from(flipped).toString('base64url')].join('.')
    },
  })
  await refuses(t, {
    response: (body) => {
      body.id_token = String(body.id_token).replace(/[^.]+$/, '')
    },
  })
  await refuses(t, { response: (body) => delete body.id_token })
  // The same way to sign, without a lie, is believed: it is the lie that was refused.
  liar.says.claims = stranger()
  liar.says.lies = { response: forge({ alg: 'RS256', kid }, withKey(key)) }
  t.equal((await open().visit('/auth/liar')).status, 200)
})

const unproved: [name: string, claims: Claims][] = [
  ['not verified', { email_verified: false }],
  ['verified in the text "true"', { email_verified: 'true' }],
  ['verified by the number 1', { email_verified: 1 }],
  ['of which the provider says nothing', { email_verified: undefined }],
  ['that is missing', { email: undefined }],
  ['that is a list', { email: ['a@example.com'] }],
  ['with a line break', { email: 'a@example.com\r\nBcc: b@example.com' }],
  ['with a zero byte', { email: 'a\u0000@example.com' }],
  ['that is none', { email: 'nobody' }],
]
for (const [name, change] of unproved) {
  t.test(`an address ${name} opens no account`, (t) =>
    refuses(
      t,
      {},
      { claims: { ...stranger(), ...change }, problem: { status: 403, code: 'email_not_verified' } },
    ),
  )
}

t.test(
  'another subject with the same address is another person, who gets no account and no session',
  async (t) => {
    const claims = stranger()
    t.equal((await signIn(claims)).status, 200)
    await refuses(
      t,
      {},
      { claims: { ...claims, sub: 'changed' }, problem: { status: 409, code: 'email_taken' } },
    )
    t.equal((await signIn(claims)).status, 200)
  },
)

t.test('names from elsewhere become one short line without control characters', async (t) => {
  const name = { given_name: `<b>\u202eEve\r\n\u0000\ud800${'x'.repeat(200)}`, family_name: '  \n ' }
  const { user } = await signIn({ ...stranger(), ...name })
  t.match(user, { firstName: /^<b> Eve x{92}$/, lastName: null })
  const bare = await signIn({ ...stranger(), given_name: 7, name: '' })
  t.match(bare.user, { firstName: /^stranger-\d+$/ })
})

t.test('an answer that names another issuer (mix-up, RFC 9207) is refused', async (t) => {
  await refuses(t, { redirect: (url) => url.searchParams.set('iss', honest.issuer) })
})

t.test('an address that says something twice is refused', async (t) => {
  for (const name of ['iss', 'state', 'code', 'error']) {
    Object.assign(liar.says, {
      claims: stranger(),
      lies: { redirect: (url: URL) => [1, 2].map(() => url.searchParams.append(name, 'again')) },
    })
    t.match((await open().visit('/auth/liar')).body, { status: 400, code: 'validation_failed' }, name)
  }
})

/** A sign-in that came as far as the way back: its browser, and the address it was about to go to. */
const halfway = async (path = '/auth/liar') => {
  Object.assign(liar.says, { claims: stranger(), lies: {} })
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
    call('GET', url.pathname + url.search, { headers: { cookie: `freehold_sign_in=${value}` } })
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
    const cookie = browser.cookies.get('localhost:4000')?.get('freehold_sign_in') ?? ''
    const { says } = await browser.visit(url.href, { stop: ({ pathname }) => pathname === '/in' })
    const code = says.code ?? ''
    const session = (await signIn(stranger())).body
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
      const headers = { cookie: `freehold_sign_in=${secret}` }
      t.equal((await call('GET', `/auth/liar/callback?state=${state}&code=x`, { headers })).status, 401)
    }
    t.equal(
      (await call('POST', '/auth/exchange', { body: { code } })).status,
      200,
      'nothing of it has spent the code',
    )
  },
)
