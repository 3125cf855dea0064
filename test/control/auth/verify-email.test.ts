import { sql } from 'kysely'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'

const mailbox = await openMailbox(t)
const { call, service, signUp } = await startFreehold(t, { ...mailbox.env, VERIFY_EMAIL: 'after' })
const { db } = service.master

const verify = (token: string) => call('POST', '/auth/email/verify', { body: { token } })
const resend = (email: string) => call('POST', '/auth/email/resend', { body: { email } })
const isVerified = async (token: string) => (await call('GET', '/auth/me', { token })).body.emailVerified
const tokenOf = async (email: string): Promise<string> =>
  (await mailbox.receive(service, email)).at(-1)?.token ?? ''

t.test('who signs up gets a link, and its click proves the address once', async (t) => {
  const { email, token } = await signUp()
  const [mail] = await mailbox.receive(service, email)
  t.match(mail, {
    subject: 'Confirm your email address',
    link: /^http:\/\/localhost:4000\/auth\/email\/verify#token=fhv_/,
  })
  t.equal(await isVerified(token), false)
  t.match((await verify(mail?.token ?? '')).body, { email, emailVerified: true, next: 'sign_in' })
  t.equal(await isVerified(token), true)
  t.match((await verify(mail?.token ?? '')).body, { status: 410, code: 'gone' })
})

t.test('of 32 clicks at once one counts', async (t) => {
  const { email } = await signUp()
  const token = await tokenOf(email)
  const answers = await Promise.all(Array.from({ length: 32 }, () => verify(token)))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(answers.filter(({ status }) => status === 410).length, 31)
})

t.test('a new link takes the place of the old one', async (t) => {
  const { email, token } = await signUp()
  const first = await tokenOf(email)
  t.equal((await resend(email)).status, 202)
  const second = await tokenOf(email)
  t.not(first, second)
  t.equal((await verify(first)).status, 410)
  t.equal((await verify(second)).status, 200)
  t.equal(await isVerified(token), true)
})

t.test('signed in, nobody has to say which address', async (t) => {
  const { email, token } = await signUp()
  await mailbox.receive(service, email)
  t.equal((await call('POST', '/auth/email/resend', { token })).status, 202)
  t.equal((await verify(await tokenOf(email))).status, 200)
  t.match((await call('POST', '/auth/email/resend')).body, { status: 401, code: 'unauthenticated' })
})

t.test('another link is asked for with one answer for all; only who waits for it gets a mail', async (t) => {
  const [waiting, verified, disabled] = [await signUp(), await signUp(), await signUp()]
  await verify(await tokenOf(verified.email))
  await db
    .updateTable('people')
    .set({ disabled_at: new Date() })
    .where('id', '=', disabled.personId)
    .execute()
  await mailbox.receive(service, waiting.email)
  await mailbox.receive(service, disabled.email)
  const answers = []
  for (const email of [waiting.email, verified.email, disabled.email, 'nobody@example.com']) {
    const { status, headers, text } = await resend(email)
    const { 'x-request-id': _, date: __, ...same } = headers
    answers.push(JSON.stringify({ status, same, text }))
  }
  t.equal(new Set(answers).size, 1)
  t.equal((await mailbox.receive(service, waiting.email)).length, 1)
  for (const email of [verified.email, disabled.email, 'nobody@example.com']) {
    t.strictSame(await mailbox.receive(service, email), [])
  }
})

t.test(
  'an expired link, one for an address that changed, and one of a disabled person are gone',
  async (t) => {
    const [expired, changed, disabled] = [await signUp(), await signUp(), await signUp()]
    const tokens = [await tokenOf(expired.email), await tokenOf(changed.email), await tokenOf(disabled.email)]
    await sql`update mailed_tokens set expires_at = now() where email = ${expired.email}`.execute(db)
    await db
      .updateTable('people')
      .set({ email: 'other@example.com' })
      .where('id', '=', changed.personId)
      .execute()
    await db
      .updateTable('people')
      .set({ disabled_at: new Date() })
      .where('id', '=', disabled.personId)
      .execute()
    for (const token of tokens) t.match((await verify(token)).body, { status: 410, code: 'gone' })
    t.equal(await isVerified(changed.token), false)
  },
)
