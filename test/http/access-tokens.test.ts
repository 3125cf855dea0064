import { createHmac, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { type SignedIn, startFreehold } from '../helpers/freehold.ts'

const { app, call, service, signUp, newTenant } = await startFreehold(t)

const b64 = (data: unknown): string =>
  Buffer.from(typeof data === 'string' ? data : JSON.stringify(data)).toString('base64url')
const decode = (part: string | undefined) => JSON.parse(Buffer.from(part ?? '', 'base64url').toString())
const key = service.keys.current()
const header = { alg: 'EdDSA', typ: 'at+jwt', kid: key.kid }

/** Signs anything with our own key: what is refused then is refused for what it says. */
const signWithOurKey = (head: unknown, payload: unknown): string => {
  const input = `${b64(head)}.${b64(payload)}`
  return `${input}.${sign(null, Buffer.from(input), createPrivateKey(key.privatePem)).toString('base64url')}`
}

const person: SignedIn = await signUp()
const claims = decode(person.token.split('.')[1])
const status = async (token: string): Promise<number> =>
  (await call('GET', '/auth/context', { token })).status

t.test('a token says what it must: header, times, audience, and no permissions', async (t) => {
  t.strictSame(decode(person.token.split('.')[0]), header)
  t.match(claims, {
    iss: 'http://localhost:4000',
    aud: 'http://localhost:4000',
    sub: person.personId,
    kind: 'user',
  })
  t.equal(claims.exp - claims.iat, 900)
  t.strictSame(Object.keys(claims).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'kind', 'sid', 'sub'])
  const member = await newTenant()
  t.equal(decode(member.token.split('.')[1]).tid, member.tenantId)
})

t.test('a token signed the same way is accepted, so the refusals below are for their reasons', async (t) => {
  t.equal(await status(signWithOurKey(header, claims)), 200)
})

t.test('the published keys verify our tokens', async (t) => {
  const { body } = await call('GET', '/.well-known/jwks.json')
  t.match(body, { keys: [{ kty: 'OKP', crv: 'Ed25519', use: 'sig', alg: 'EdDSA', kid: key.kid }] })
  t.notMatch(JSON.stringify(body), /"d"/)
})

t.test('any change of any character is refused', async (t) => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ '
  await fc.assert(
    fc.asyncProperty(fc.nat(person.token.length - 1), fc.constantFrom(...alphabet), async (at, letter) => {
      fc.pre(person.token[at] !== letter)
      const changed = person.token.slice(0, at) + letter + person.token.slice(at + 1)
      return (await status(changed)) === 401
    }),
    { numRuns: 400 },
  )
  // The last character carries spare bits: each of its other spellings is refused too.
  for (const letter of alphabet) {
    if (letter !== person.token.at(-1)) t.equal(await status(person.token.slice(0, -1) + letter), 401)
  }
})

const wrongClaims: [name: string, change: Record<string, unknown>][] = [
  ['another issuer', { iss: 'http://evil.example' }],
  ['issuers in a list', { iss: ['http://localhost:4000'] }],
  ['another audience', { aud: 'http://evil.example' }],
  ['another person than the session', { sub: newId() }],
  ['a session that is not there', { sid: newId() }],
  ['no session', { sid: undefined }],
  ['a session that is no id', { sid: `${claims.sid}' or '1'='1` }],
  ['no expiry', { exp: undefined }],
  ['expiry as text', { exp: String(claims.exp) }],
  ['expiry as a fraction', { exp: claims.exp + 0.5 }],
  ['expiry in the past', { exp: claims.iat - 1 }],
  ['expiry -1', { exp: -1 }],
  ['no jti', { jti: undefined }],
  ['jti as a number', { jti: 7 }],
  ['another kind', { kind: 'refresh' }],
  ['no kind', { kind: undefined }],
  ['tenant as an object', { tid: { id: newId() } }],
  ['not yet valid', { nbf: claims.exp }],
  ['issued in the future', { iat: claims.exp + 1000 }],
]
for (const [name, change] of wrongClaims) {
  t.test(`refused, though signed by us: ${name}`, async (t) => {
    t.equal(await status(signWithOurKey(header, { ...claims, ...change })), 401)
  })
}

t.test('refused, though signed by us: a payload that is no object', async (t) => {
  for (const payload of ['[]', '"text"', '7', 'null', 'true', '', `[${JSON.stringify(claims)}]`]) {
    t.equal(await status(signWithOurKey(header, payload)), 401, payload)
  }
  const huge = JSON.stringify(claims).replace(/"exp":\d+/, '"exp":1e400')
  t.equal(await status(signWithOurKey(header, huge)), 401, 'exp 1e400')
  const proto = JSON.stringify(claims).replace('{', '{"__proto__":{"sid":"x"},')
  t.equal(
    await status(signWithOurKey(header, proto.replace(/"sid":"[^"]+",/, ''))),
    401,
    'claims in __proto__',
  )
})

t.test('an expired token says so, so that clients refresh', async (t) => {
  const old = { ...claims, iat: claims.iat - 1000, exp: claims.iat - 100 }
  const { body } = await call('GET', '/auth/context', { token: signWithOurKey(header, old) })
  t.match(body, { status: 401, code: 'token_expired' })
})

const wrongHeaders: [name: string, head: Record<string, unknown>][] = [
  ['typ JWT', { ...header, typ: 'JWT' }],
  ['no typ', { alg: 'EdDSA', kid: key.kid }],
  ['no kid', { alg: 'EdDSA', typ: 'at+jwt' }],
  ['an unknown kid', { ...header, kid: 'x' }],
  ['a kid that is a path', { ...header, kid: '../../etc/passwd' }],
  ['crit', { ...header, crit: ['exp'] }],
  ['jwk', { ...header, jwk: { kty: 'OKP', crv: 'Ed25519', x: 'AA' } }],
  ['jku', { ...header, jku: 'http://evil.example/jwks.json' }],
  ['x5u', { ...header, x5u: 'http://evil.example/cert.pem' }],
  ...['none', 'None', 'NONE', 'nOnE', 'HS256', 'RS256', 'ES256', 'Ed25519', ''].map(
    (alg): [string, Record<string, unknown>] => [`alg ${alg || 'empty'}`, { ...header, alg }],
  ),
]
for (const [name, head] of wrongHeaders) {
  t.test(`refused header: ${name}`, async (t) => {
    t.equal(await status(signWithOurKey(head, claims)), 401)
    t.equal(await status(`${b64(head)}.${b64(claims)}.`), 401, 'without a signature')
  })
}

t.test('refused: HS256 signed with the public key, in every spelling', async (t) => {
  const pem = service.keys.publicPem(key.kid) ?? ''
  const body = pem.replace(/-----[^-]+-----|\s/g, '')
  const { x } = service.keys.jwks().keys[0] ?? { x: '' }
  const spellings = [
    pem,
    pem.trim(),
    pem.replaceAll('\n', '\r\n'),
    pem.replaceAll('\n', ''),
    body,
    Buffer.from(body, 'base64'),
    x,
    Buffer.from(x, 'base64url'),
    JSON.stringify(service.keys.jwks().keys[0]),
    JSON.stringify(service.keys.jwks()),
    `${pem}\n`,
    key.kid,
  ]
  for (const [i, secret] of spellings.entries()) {
    const input = `${b64({ ...header, alg: 'HS256' })}.${b64(claims)}`
    t.equal(
      await status(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`),
      401,
      String(i),
    )
  }
})

t.test("refused: a stranger's key under our kid", async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const input = `${b64(header)}.${b64(claims)}`
  t.equal(await status(`${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`), 401)
})

t.test('refused: a refresh token, a password, nothing, or anything that is no bearer token', async (t) => {
  const authorization = [
    `Bearer ${person.refreshToken}`,
    'Bearer',
    'Bearer ',
    `Basic ${b64('a:b')}`,
    person.token,
    `Bearer ${person.token} ${person.token}`,
    `Bearer ${person.token},`,
    `Bearer "${person.token}"`,
    `Token ${person.token}`,
    `Bearer ${'A'.repeat(5000)}`,
    `Bearer ${person.token}${'A'.repeat(5000)}`,
  ]
  for (const value of authorization) {
    const { body } = await call('GET', '/auth/context', { headers: { authorization: value } })
    t.match(body, { status: 401, code: 'unauthenticated' }, value.slice(0, 30))
  }
})

t.test("two tokens with one jti never give each other's identity, remembered or not", async (t) => {
  const other = await signUp()
  const otherClaims = decode(other.token.split('.')[1])
  const tokens = [
    { token: person.token, id: person.personId },
    { token: signWithOurKey(header, { ...otherClaims, jti: claims.jti }), id: other.personId },
  ]
  for (const { token, id } of [...tokens, ...tokens, ...tokens.reverse()]) {
    t.match((await call('GET', '/auth/context', { token })).body, { user: { id } })
  }
})

t.test(
  'a token that was verified once is not verified again; another one of the same session is',
  async (t) => {
    const { token } = await signUp()
    const verify = t.capture(app.jwt, 'verify', app.jwt.verify)
    const verified = (): unknown[] => verify().map(({ args }) => args[0])
    t.equal(await status(token), 200)
    t.strictSame(verified(), [token])
    t.equal(await status(token), 200)
    t.equal(await status(token), 200)
    t.strictSame(verified(), [])
    const another = signWithOurKey(header, { ...decode(token.split('.')[1]), jti: newId() })
    t.equal(await status(another), 200)
    t.strictSame(verified(), [another])
  },
)

t.test('a remembered token still expires', async (t) => {
  const soon = signWithOurKey(header, { ...claims, jti: newId(), exp: Math.floor(Date.now() / 1000) + 2 })
  t.equal(await status(soon), 200)
  let last = 200
  while (last === 200) last = await status(soon)
  t.equal(last, 401)
})
