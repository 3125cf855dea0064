import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import t from 'tap'
import { keepSigningKeys, replaceSigningKeys, rotateSigningKey } from '../../src/access/signing-keys.ts'
import { startNode } from '../helpers/freehold.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

const postgres = await startTestPostgres(t)
const node = await startNode(t, postgres)
const other = await startNode(t, postgres)
const { service, call } = node
const { db } = service.master
const { box } = service

const kidOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid
const published = async (at = node): Promise<string[]> => {
  const { body } = await at.call('GET', '/.well-known/jwks.json')
  return (body.keys as unknown as { kid: string }[]).map(({ kid }) => kid)
}
const works = async (token: string, at = node): Promise<boolean> =>
  (await at.call('GET', '/auth/context', { token })).status === 200
/** As if so many minutes had passed for the keys. */
const age = (minutes: number) =>
  sql`update signing_keys set created_at = created_at - make_interval(mins => ${minutes}),
    signs_from = signs_from - make_interval(mins => ${minutes}),
    retired_at = retired_at - make_interval(mins => ${minutes})`.execute(db)

t.test('a new key is published on every node before it signs, and the old one verifies on', async (t) => {
  const person = await node.signUp()
  const first = kidOf(person.token)
  const second = await rotateSigningKey(db, box)
  for (const each of [node, other]) await until(async () => (await published(each)).includes(second))
  t.equal(kidOf((await other.signUp()).token), first, 'not yet')
  await age(11)
  await until(async () => kidOf((await node.signUp()).token) === second)
  await until(async () => kidOf((await other.signUp()).token) === second)
  t.ok(await works(person.token))
  t.ok(await works((await node.signUp()).token, other), 'signed here, verified there')
  t.ok(await works((await other.signUp()).token))
})

t.test('a key is forgotten only when every token it signed has expired', async (t) => {
  const before = await published()
  t.equal(before.length, 2)
  await age(24 * 60)
  await keepSigningKeys(db, box)
  t.equal((await published()).length, 2)
  await age(62)
  await keepSigningKeys(db, box)
  await until(async () => (await published()).length === 1)
  t.strictSame(await published(), before.slice(0, 1))
})

t.test('by schedule a key is followed by another after 90 days, once', async (t) => {
  const [old = ''] = await published()
  await keepSigningKeys(db, box)
  t.strictSame(await published(), [old], 'not due')
  await age(91 * 24 * 60)
  await Promise.all([service, other.service].map((each) => each.accountTasks['tidy-access']({})))
  await until(async () => (await published()).length === 2)
  t.equal((await db.selectFrom('signing_keys').selectAll().execute()).length, 2)
  t.equal(kidOf((await node.signUp()).token), old)
  const entries = await db
    .selectFrom('audit_log')
    .select(['actor_kind'])
    .where('action', '=', 'signing_key.rotated')
    .orderBy('id')
    .execute()
  t.strictSame(entries, [{ actor_kind: 'operator' }, { actor_kind: 'system' }])
})

t.test('a key that was seen is worthless at once, also for tokens that were verified before', async (t) => {
  const person = await node.signUp()
  for (const each of [node, other]) t.ok(await works(person.token, each))
  const kid = await replaceSigningKeys(db, box)
  for (const each of [node, other]) {
    await until(async () => (await published(each)).join() === kid)
    t.notOk(await works(person.token, each))
  }
  const { status, body } = await other.call('POST', '/auth/refresh', {
    body: { refreshToken: person.refreshToken },
  })
  t.equal(status, 200, 'the session goes on')
  t.equal(kidOf(String(body.accessToken)), kid)
  t.ok(await works(String(body.accessToken)))
})

t.test('the list of keys may be kept for five minutes, and asked for anew by its tag', async (t) => {
  const first = await call('GET', '/.well-known/jwks.json')
  t.match(first.headers, { 'cache-control': 'public, max-age=300', etag: /^"/ })
  const ask = () =>
    node.app.inject({
      url: '/.well-known/jwks.json',
      headers: { 'if-none-match': String(first.headers.etag) },
    })
  t.match(await ask(), { statusCode: 304, body: '' })
  await rotateSigningKey(db, box)
  await until(async () => (await ask()).statusCode === 200)
})

t.test('no private key is in the master in the clear, nor in the list', async (t) => {
  const { text } = await call('GET', '/.well-known/jwks.json')
  t.notMatch(text, /"d"|PRIVATE/)
  for (const { private_key } of await db.selectFrom('signing_keys').selectAll().execute()) {
    t.notMatch(private_key.toString('latin1'), /PRIVATE/)
  }
})

t.test('the verifier in docs/ accepts our tokens and no others', async (t) => {
  await node.app.listen({ host: '127.0.0.1', port: 0 })
  const address = node.app.server.address()
  const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const file = fileURLToPath(new URL('../../docs/verify-access-token.ts', import.meta.url))
  const { verifyAccessToken } = (await import(file)) as typeof import('../../docs/verify-access-token.ts')
  const issuer = service.config.publicUrl
  const person = await node.signUp()
  const verify = (token: string, expected = issuer) => verifyAccessToken(token, { issuer: expected, origin })
  t.match(await verify(person.token), { sub: person.personId, kind: 'user' })
  const [head = '', body = '', signature = ''] = person.token.split('.')
  const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
  const forged = Buffer.from(JSON.stringify({ ...claims, kind: 'system' })).toString('base64url')
  for (const token of [
    `${head}.${forged}.${signature}`,
    `${none}.${body}.`,
    `${none}.${body}.${signature}`,
    'x',
  ]) {
    await t.rejects(verify(token))
  }
  await t.rejects(verify(person.token, 'https://elsewhere.example'))
})
