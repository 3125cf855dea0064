import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const { call, service } = await startFreehold(t)
const body = {
  email: 'Ada@Example.com',
  password: 'a long passphrase',
  firstName: 'Ada',
  lastName: 'Lovelace',
}

t.test('a new person is signed in, without a tenant', async (t) => {
  const answer = await call('POST', '/auth/register', { body })
  t.equal(answer.status, 201)
  t.match(answer.body, {
    user: {
      email: 'ada@example.com',
      firstName: 'Ada',
      lastName: 'Lovelace',
      emailVerified: false,
      platformAdmin: false,
    },
    tenant: null,
    role: null,
    permissions: [],
    tenants: [],
    accessToken: String,
    refreshToken: /^fhr_/,
    tokenType: 'Bearer',
    expiresIn: 900,
  })
  t.equal(answer.headers['cache-control'], 'no-store')
  t.notMatch(answer.text, /password|hash/i)
})

t.test('an address has one account, however it is written', async (t) => {
  const answer = await call('POST', '/auth/register', { body: { ...body, email: 'ADA@example.COM' } })
  t.match(answer.body, { status: 409, code: 'email_taken' })
})

t.test('of two who register one address at once, one gets it', async (t) => {
  const answers = await Promise.all(
    [1, 2, 3, 4].map(() => call('POST', '/auth/register', { body: { ...body, email: 'race@example.com' } })),
  )
  t.strictSame(answers.map((answer) => answer.status).sort(), [201, 409, 409, 409])
})

t.test('the master keeps the password only as argon2id', async (t) => {
  const { password_hash } = await service.master.db
    .selectFrom('people')
    .select('password_hash')
    .where('email', '=', 'ada@example.com')
    .executeTakeFirstOrThrow()
  t.match(password_hash, /^\$argon2id\$v=19\$/)
})

const bad: [name: string, change: Record<string, unknown>][] = [
  ['no email', { email: undefined }],
  ['an email without a domain', { email: 'ada' }],
  ['an email with a line break', { email: 'ada@example.com\r\nbcc: x@example.com' }],
  ['an email with a comment', { email: 'ada(comment)@example.com' }],
  ['two emails', { email: 'ada@example.com,bob@example.com' }],
  ['a password of 7 characters', { password: '1234567' }],
  ['a password of 257 characters', { password: 'x'.repeat(257) }],
  ['a password with a zero byte', { password: 'long enough\u0000' }],
  ['no first name', { firstName: '' }],
  ['a first name with a line break', { firstName: 'Ada\nBcc' }],
  ['platformAdmin', { platformAdmin: true }],
  ['an id', { id: '018f0000-0000-7000-8000-000000000000' }],
  ['a tenantId', { tenantId: '018f0000-0000-7000-8000-000000000000' }],
  ['a role', { role: 'Admin' }],
]
for (const [name, change] of bad) {
  t.test(`refused: ${name}`, async (t) => {
    const answer = await call('POST', '/auth/register', {
      body: { ...body, email: 'new@example.com', ...change },
    })
    t.match(answer.body, {
      status: 400,
      code: 'validation_failed',
      errors: [{ path: /^\/\w+/, message: String }],
    })
  })
}

t.test('__proto__ in the body pollutes nothing', async (t) => {
  const answer = await call('POST', '/auth/register', {
    headers: { 'content-type': 'application/json' },
    body: '{"__proto__":{"platformAdmin":true},"email":"p@example.com","password":"a long passphrase","firstName":"P"}',
  })
  t.equal(answer.status, 400)
  t.equal(({} as { platformAdmin?: boolean }).platformAdmin, undefined)
})
