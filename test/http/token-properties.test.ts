import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { SigningKeys } from '../../src/access/signing-keys.ts'
import { type AccessTokens, registerAccessTokens } from '../../src/http/access-tokens.ts'
import { createServer } from '../../src/http/server.ts'
import type { Clock } from '../../src/kernel/clock.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { createLogger } from '../../src/kernel/log.ts'

const issuer = 'http://localhost:4000'
const now = 1_800_000_000
const clock: Clock = { now: () => new Date(now * 1000) }
const pair = generateKeyPairSync('ed25519')
const kid = 'the-key'
const privatePem = String(pair.privateKey.export({ format: 'pem', type: 'pkcs8' }))
const publicPem = String(pair.publicKey.export({ format: 'pem', type: 'spki' }))
const keys: SigningKeys = {
  current: () => ({ kid, privatePem }),
  publicPem: (wanted) => (wanted === kid ? publicPem : undefined),
  jwks: () => ({ keys: [] }),
  generation: () => 0,
  reload: async () => {},
}

/** A node's own check, which has seen no token yet. */
const newNode = (): Promise<AccessTokens> =>
  registerAccessTokens(createServer(createLogger('silent')), { keys, issuer, seconds: 900, clock })
const tokens = await newNode()

const b64 = (data: unknown): string =>
  Buffer.from(typeof data === 'string' ? data : JSON.stringify(data)).toString('base64url')
const header = { alg: 'EdDSA', typ: 'at+jwt', kid }
const key = createPrivateKey(privatePem)
const signText = (head: string, payload: string): string => {
  const input = `${b64(head)}.${b64(payload)}`
  return `${input}.${sign(null, Buffer.from(input), key).toString('base64url')}`
}
const signed = (claims: object): string => signText(JSON.stringify(header), JSON.stringify(claims))

const refuses = (token: string, at: AccessTokens = tokens): boolean => {
  try {
    at.verify(token)
    return false
  } catch (error) {
    return isAppError(error, 'unauthenticated') || isAppError(error, 'token_expired')
  }
}

type Claims = Record<string, string | number>

/** Few ids, so that tokens share some of their claims. */
const ids = Array.from({ length: 4 }, (_, n) => `018f0000-0000-7000-8000-00000000000${n}`)
const anId = fc.constantFrom(...ids)
const someClaims: fc.Arbitrary<Claims> = fc
  .record({
    jti: anId,
    sub: anId,
    sid: anId,
    tid: fc.option(anId, { nil: undefined }),
    kind: fc.constantFrom('user', 'system'),
    iat: fc.integer({ min: now - 2, max: now }),
    exp: fc.integer({ min: now + 1, max: now + 3 }),
  })
  .map(({ tid, ...claims }) => ({
    ...claims,
    iss: issuer,
    aud: issuer,
    ...(tid === undefined ? {} : { tid }),
  }))

const issued = (): string =>
  tokens.issue({ personId: ids[0] ?? '', sessionId: ids[1] ?? '', tenantId: ids[2] ?? null })
/** One that was checked before, so that its text is remembered, and one that was not. */
const aToken = fc.constantFrom(true, false).map((seen) => {
  const token = issued()
  if (seen) tokens.verify(token)
  return token
})
const splice = (text: string, from: number, to: number, by: string): string =>
  text.slice(0, from) + by + text.slice(to)

t.test('every token has exp, iat, iss, aud, jti and typ, whoever it is for', async (t) => {
  const common = { personId: ids[0] ?? '', sessionId: ids[1] ?? '' }
  for (const more of [
    { tenantId: null },
    { tenantId: ids[2] ?? null },
    { tenantId: null, system: { serviceType: 'billing', seconds: 60 } },
  ]) {
    const [head, payload] = tokens
      .issue({ ...common, ...more })
      .split('.')
      .map((part) => JSON.parse(part.startsWith('ey') ? Buffer.from(part, 'base64url').toString() : '{}'))
    t.match(head, { typ: 'at+jwt', alg: 'EdDSA', kid })
    t.match(payload, { iss: issuer, aud: issuer, jti: String, iat: now })
    t.equal(payload.exp, now + ('system' in more ? 60 : 900))
  }
})

t.test('a token with any bit turned is refused, seen before or not', async (t) => {
  t.notOk(refuses(issued()), 'as it is, it is good')
  fc.assert(
    fc.property(aToken, fc.nat(), fc.nat(7), (token, at, bit) => {
      const bytes = Buffer.from(token)
      const index = at % bytes.length
      bytes[index] = (bytes[index] ?? 0) ^ (1 << bit)
      return refuses(bytes.toString('latin1'))
    }),
    { numRuns: 600 },
  )
})

t.test('a token with any byte of its decoded parts changed, added or cut off is refused', async () => {
  const change = fc.record({ part: fc.nat(2), at: fc.nat(), byte: fc.nat(255), cut: fc.boolean() })
  fc.assert(
    fc.property(aToken, change, (token, { part, at, byte, cut }) => {
      const parts = token.split('.').map((text) => Buffer.from(text, 'base64url'))
      const old = parts[part] ?? Buffer.alloc(0)
      const index = at % (old.length + 1)
      const changed = Buffer.concat([
        old.subarray(0, index),
        Buffer.from([byte]),
        old.subarray(index + (cut ? 2 : 1)),
      ])
      fc.pre(!changed.equals(old))
      parts[part] = changed
      return refuses(parts.map((bytes) => bytes.toString('base64url')).join('.'))
    }),
    { numRuns: 500 },
  )
})

t.test('a token with anything inserted, removed or replaced is refused', async () => {
  const edit = fc.record({ from: fc.nat(), length: fc.nat(5), by: fc.string({ maxLength: 5 }) })
  fc.assert(
    fc.property(aToken, edit, (token, { from, length, by }) => {
      const start = from % (token.length + 1)
      const changed = splice(token, start, start + length, by)
      fc.pre(changed !== token)
      return refuses(changed)
    }),
    { numRuns: 600 },
  )
})

t.test('a part of one token in another, both good, makes none', async () => {
  fc.assert(
    fc.property(someClaims, someClaims, fc.nat(2), (one, two, part) => {
      const [a, b] = [signed(one).split('.'), signed(two).split('.')]
      const mixed = a.map((text, n) => (n === part ? b[n] : text)).join('.')
      fc.pre(mixed !== a.join('.') && mixed !== b.join('.'))
      for (const token of [a, b]) tokens.verify(token.join('.'))
      return refuses(mixed)
    }),
  )
})

t.test('signed by us or not, a header that says anything else is refused', async (t) => {
  const payload = JSON.stringify({
    ...JSON.parse(Buffer.from(issued().split('.')[1] ?? '', 'base64url').toString()),
  })
  const name = fc.oneof(
    fc.constantFrom('alg', 'typ', 'kid', 'crit', 'jku', 'jwk', 'x5u', 'x5c', 'b64', 'zip', 'cty'),
    fc.string(),
  )
  t.notOk(refuses(signText(JSON.stringify(header), payload)), 'without a change it is good')
  fc.assert(
    fc.property(name, fc.jsonValue(), (field, value) => {
      const changed = JSON.stringify({ ...header, [field]: value })
      fc.pre(changed !== JSON.stringify(header) && changed.includes(JSON.stringify(field)))
      return refuses(signText(changed, payload))
    }),
    { numRuns: 250 },
  )
})

t.test('signed by us, a claim of another shape is refused', async (t) => {
  const good = {
    jti: ids[0],
    iss: issuer,
    aud: issuer,
    sub: ids[1],
    sid: ids[2],
    tid: ids[3],
    kind: 'user',
    iat: now,
    exp: now + 9,
  }
  const claim = fc.constantFrom(...Object.keys(good))
  t.notOk(refuses(signed(good)))
  fc.assert(
    fc.property(claim, fc.jsonValue(), (field, value) => {
      fc.pre(!(Number.isSafeInteger(value) && (field === 'iat' || field === 'exp')))
      return refuses(signed({ ...good, [field]: value }))
    }),
    { numRuns: 250 },
  )
  for (const field of Object.keys(good).filter((one) => one !== 'tid')) {
    t.ok(refuses(signed({ ...good, [field]: undefined })), `without ${field}`)
  }
})

t.test(
  'tokens that differ in any claim never give one another’s identity: in any order, remembered or not',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(someClaims, { minLength: 2, maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        async (many, order) => {
          const warm = await newNode()
          for (const n of [...many.keys(), ...order, ...many.keys()]) {
            const claims = many[n % many.length] ?? {}
            const token = signed(claims)
            const cold = await newNode()
            for (const node of [warm, cold, tokens]) {
              if (JSON.stringify(node.verify(token)) !== JSON.stringify(claims)) return false
            }
          }
          return true
        },
      ),
      { numRuns: 25 },
    )
  },
)

t.test('a jti said twice, late or in another spelling gives nobody another’s identity', async (t) => {
  const [mine = '', hers = '', me = '', her = ''] = ids
  const rest = (sub: string) =>
    `"iss":"${issuer}","aud":"${issuer}","sub":"${sub}","sid":"${sub}","kind":"user","iat":${now},"exp":${now + 9}`
  const good = signText(JSON.stringify(header), `{"jti":"${hers}",${rest(her)}}`)
  const odd = [
    `{"jti":"${hers}",${rest(me)},"jti":"${mine}"}`,
    `{"jti":"${mine}",${rest(me)},"jti":"${hers}"}`,
    `{${rest(me)},"jti":"${hers}"}`,
    `{ "jti":"${hers}",${rest(me)}}`,
    `{"\\u006ati":"${hers}",${rest(me)}}`,
    `{"jti":"${hers.toUpperCase()}",${rest(me)}}`,
  ].map((payload) => signText(JSON.stringify(header), payload))
  const node = await newNode()
  for (const _ of [1, 2]) {
    for (const token of odd) {
      t.equal(node.verify(token).sub, me)
      t.equal(node.verify(good).sub, her)
    }
  }
})
