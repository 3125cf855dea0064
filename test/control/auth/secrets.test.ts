import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'

const mailbox = await openMailbox(t)
const { call, service, signUp } = await startFreehold(t, mailbox.env)

/** One of each kind of secret of one person, all good. */
const secretsOf = async () => {
  const person = await signUp()
  const verify = (await mailbox.receive(service, person.email)).at(-1)?.token ?? ''
  await call('POST', '/auth/password/forgot', { body: { email: person.email } })
  const reset = (await mailbox.receive(service, person.email)).at(-1)?.token ?? ''
  return { access: person.token, refresh: person.refreshToken, verify, reset }
}
const verifyEmail = (token: string) => call('POST', '/auth/email/verify', { body: { token } })

t.test('a token of a mail in any spelling but its own is no token', async (t) => {
  const { verify } = await secretsOf()
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = verify.at(-1) ?? ''
  for (const text of [
    verify.slice(0, -1),
    `${verify}A`,
    `${verify}=`,
    ` ${verify}`,
    `${verify}\n`,
    verify.toUpperCase(),
    verify.slice(4),
    `fhp_${verify.slice(4)}`,
    verify.slice(0, -1) + (alphabet[alphabet.indexOf(last) ^ 1] ?? ''),
  ]) {
    t.equal((await verifyEmail(text)).status, 410, JSON.stringify(text))
  }
  t.equal((await verifyEmail(verify)).status, 200)
})

const privileges = {
  userId: '018f0000-0000-7000-8000-000000000000',
  personId: '018f0000-0000-7000-8000-000000000000',
  tenantId: '018f0000-0000-7000-8000-000000000000',
  role: 'Admin',
  platformAdmin: true,
  emailVerified: true,
}
t.test('userId, tenantId, role and platformAdmin added to any body of an account are refused', async (t) => {
  const { access: token, refresh, verify, reset } = await secretsOf()
  const bodies: [method: string, url: string, body: Record<string, unknown>][] = [
    ['POST', '/auth/register', { email: 'n@example.com', password: 'long enough 1', firstName: 'N' }],
    ['POST', '/auth/login', { email: 'n@example.com', password: 'long enough 1' }],
    ['POST', '/auth/refresh', { refreshToken: refresh }],
    ['POST', '/auth/switch', { tenant: null }],
    ['PATCH', '/auth/me', { firstName: 'N' }],
    ['PUT', '/auth/password', { currentPassword: 'x', newPassword: 'long enough 1' }],
    ['POST', '/auth/password/forgot', { email: 'n@example.com' }],
    ['POST', '/auth/password/reset', { token: reset, password: 'long enough 1' }],
    ['POST', '/auth/email/verify', { token: verify }],
    ['POST', '/auth/email/resend', { email: 'n@example.com' }],
  ]
  for (const [method, url, body] of bodies) {
    for (const [name, value] of Object.entries(privileges)) {
      const { status } = await call(method, url, { token, body: { ...body, [name]: value } })
      t.equal(status, 400, `${method} ${url} ${name}`)
    }
  }
})

t.test('line breaks, comments and lists in an address reach no mail', async (t) => {
  for (const email of [
    'a@example.com\r\nBcc: b@example.com',
    'a@example.com,b@example.com',
    'a(comment)@example.com',
    '"a b"@example.com',
    'a@example.com\u0000',
    '<a@example.com>',
  ]) {
    for (const url of ['/auth/password/forgot', '/auth/email/resend']) {
      t.match((await call('POST', url, { body: { email } })).body, { status: 400, code: 'validation_failed' })
    }
  }
})

t.test(
  'the pages that mails lead to hold no secret, load nothing from elsewhere, and only ask',
  async (t) => {
    const { verify } = await secretsOf()
    for (const url of ['/auth/email/verify', '/auth/password/reset', '/auth/password/forgot']) {
      const { status, headers, text } = await call('GET', `${url}?token=${verify}`)
      t.equal(status, 200)
      t.match(headers['content-security-policy'], /^default-src 'none'; script-src 'sha256-/)
      t.match(headers, {
        'referrer-policy': 'no-referrer',
        'content-type': /^text\/html/,
        'cache-control': 'no-store',
      })
      t.notMatch(text, /https?:\/\/|fhv_/)
    }
    t.equal((await verifyEmail(verify)).status, 200, 'a scanner that follows links spends nothing')
  },
)

t.test('the page for a new password hides it and lets it be pasted and filled in', async (t) => {
  const { text } = await call('GET', '/auth/password/reset')
  const fields = [...text.matchAll(/<input[^>]*>/g)].map(([field]) => field)
  t.strictSame(
    fields.map((field) => [/type="(\w+)"/.exec(field)?.[1], /autocomplete="([\w-]+)"/.exec(field)?.[1]]),
    [['password', 'new-password']],
  )
  t.notMatch(text, /paste|readonly|autocomplete="off"/)
})
