import { sql } from 'kysely'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const { call, service, signUp, newTenant } = await startFreehold(t)

const refresh = (refreshToken: string) => call('POST', '/auth/refresh', { body: { refreshToken } })
const context = (token: unknown) => call('GET', '/auth/context', { token: String(token) })

/** Lets the leeway of every session pass. */
const passLeeway = () =>
  sql`update sessions set rotated_at = rotated_at - interval '11 seconds'`.execute(service.master.db)

t.test('a refresh token is exchanged for new tokens that work', async (t) => {
  const { refreshToken } = await signUp()
  const answer = await refresh(refreshToken)
  t.equal(answer.status, 200)
  t.match(answer.body, { accessToken: String, refreshToken: /^fhr_/, tokenType: 'Bearer', expiresIn: 900 })
  t.not(answer.body.refreshToken, refreshToken)
  t.equal((await context(answer.body.accessToken)).status, 200)
})

t.test('the chosen tenant is kept over refresh', async (t) => {
  const { refreshToken, tenantId } = await newTenant()
  const { body } = await refresh(refreshToken)
  t.match((await context(body.accessToken)).body, { tenant: { id: tenantId }, role: 'Admin' })
})

t.test('within 10 s the immediate predecessor gets the same successor', async (t) => {
  const { refreshToken } = await signUp()
  const [first, again] = [await refresh(refreshToken), await refresh(refreshToken)]
  t.equal(again.status, 200)
  t.equal(again.body.refreshToken, first.body.refreshToken)
})

t.test('64 at once get one successor', async (t) => {
  const { refreshToken } = await signUp()
  const answers = await Promise.all(Array.from({ length: 64 }, () => refresh(refreshToken)))
  t.strictSame([...new Set(answers.map((answer) => answer.status))], [200])
  t.equal(new Set(answers.map((answer) => answer.body.refreshToken)).size, 1)
})

t.test('reuse after the leeway ends the session, access token included, and is audited', async (t) => {
  const { refreshToken } = await signUp()
  const { body } = await refresh(refreshToken)
  await passLeeway()
  t.match((await refresh(refreshToken)).body, { status: 401, code: 'token_reused' })
  t.match((await refresh(String(body.refreshToken))).body, { status: 401, code: 'unauthenticated' })
  t.match((await context(body.accessToken)).body, { status: 401, code: 'unauthenticated' })
  const entries = await service.master.db
    .selectFrom('audit_log')
    .select('action')
    .where('action', '=', 'session.refresh_token_reused')
    .execute()
  t.equal(entries.length, 1)
})

t.test('a token older than the immediate predecessor ends the session, leeway or not', async (t) => {
  const { refreshToken } = await signUp()
  const second = await refresh(refreshToken)
  await refresh(String(second.body.refreshToken))
  t.match((await refresh(refreshToken)).body, { status: 401, code: 'token_reused' })
})

t.test('the master keeps no refresh token, and its rows do not give one', async (t) => {
  const { refreshToken } = await signUp()
  const dump = JSON.stringify([
    await service.master.db.selectFrom('sessions').selectAll().execute(),
    (await service.master.db.selectFrom('refresh_tokens').selectAll().execute()).map((row) => ({
      ...row,
      token_hash: row.token_hash.toString('base64url'),
    })),
  ])
  t.notOk(dump.includes(refreshToken.slice(4)))
})

t.test('what is no refresh token of ours is refused', async (t) => {
  const { refreshToken, token } = await signUp()
  const last = refreshToken.at(-1) ?? ''
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const sibling = alphabet[alphabet.indexOf(last) ^ 1] ?? ''
  const wrong = {
    'an access token': token,
    truncated: refreshToken.slice(0, -1),
    extended: `${refreshToken}A`,
    'other spare bits in the last character': refreshToken.slice(0, -1) + sibling,
    'without its prefix': refreshToken.slice(4),
    'in capitals': refreshToken.toUpperCase(),
    padded: `${refreshToken}=`,
  }
  for (const [name, text] of Object.entries(wrong)) {
    t.match((await refresh(text)).body, { status: 401, code: 'unauthenticated' }, name)
  }
  t.equal((await refresh(refreshToken)).status, 200, 'the session lives on')
})

t.test('an expired session and a disabled person get no tokens', async (t) => {
  const [expired, disabled] = [await signUp(), await signUp()]
  const { db } = service.master
  await db
    .updateTable('sessions')
    .set({ expires_at: new Date(0) })
    .where('person_id', '=', expired.personId)
    .execute()
  await db
    .updateTable('people')
    .set({ disabled_at: new Date() })
    .where('id', '=', disabled.personId)
    .execute()
  for (const { refreshToken } of [expired, disabled]) {
    t.match((await refresh(refreshToken)).body, { status: 401, code: 'unauthenticated' })
  }
})
