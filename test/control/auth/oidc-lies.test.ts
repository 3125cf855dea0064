import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import t, { type Test } from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { type Claims, type Lies, startLyingProvider } from '../../helpers/providers.ts'

const publicUrl = 'http://localhost:4000'
const liar = await startLyingProvider(t, 'LIAR')
const { app, service } = await startFreehold(t, liar.env)
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
  await refuses(t, { redirect: (url) => url.searchParams.set('iss', 'https://accounts.google.com') })
})
