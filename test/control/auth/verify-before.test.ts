import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'

const mailbox = await openMailbox(t)
const { call, service } = await startFreehold(t, { ...mailbox.env, VERIFY_EMAIL: 'before' })
const { db } = service.master

const password = 'a long passphrase'
const register = (email: string, secret = password) =>
  call('POST', '/auth/register', { body: { email, password: secret, firstName: 'Ada', lastName: 'L' } })
const login = (email: string, secret = password) =>
  call('POST', '/auth/login', { body: { email, password: secret } })
const verify = (token: string | undefined) => call('POST', '/auth/email/verify', { body: { token } })
const receive = (email: string) => mailbox.receive(service, email)
const peopleWith = (email: string) => db.selectFrom('people').selectAll().where('email', '=', email).execute()

let people = 0
/** Signs up and follows the link. */
const newPerson = async (): Promise<string> => {
  people += 1
  const email = `verified-${people}@example.com`
  await register(email)
  await verify((await receive(email)).at(-1)?.token)
  return email
}

t.test('there is an account once the address is proved, and not before', async (t) => {
  const email = 'ada@example.com'
  t.equal((await register(email.toUpperCase())).status, 202)
  const [mail] = await receive(email)
  t.match(mail, { subject: 'Confirm your email address', token: /^fhv_/ })
  t.strictSame(await peopleWith(email), [])
  t.match((await login(email)).body, { status: 401, code: 'invalid_credentials' })
  t.match((await verify(mail?.token)).body, { email, next: 'sign_in' })
  t.match((await login(email)).body, {
    user: { email, firstName: 'Ada', lastName: 'L', emailVerified: true },
  })
  t.match((await verify(mail?.token)).body, { status: 410, code: 'gone' })
})

t.test('who signs up hears the same for every address; the mail decides', async (t) => {
  const [known, disabled, google] = [await newPerson(), await newPerson(), await newPerson()]
  await db.updateTable('people').set({ disabled_at: new Date() }).where('email', '=', disabled).execute()
  await db.updateTable('people').set({ password_hash: null }).where('email', '=', google).execute()
  const unknown = 'unknown@example.com'
  const answers = []
  for (const email of [known, disabled, google, unknown]) {
    const { status, headers, text } = await register(email, 'the password of an attacker')
    const { 'x-request-id': _, date: __, ...same } = headers
    answers.push(JSON.stringify({ status, same, text }))
  }
  t.equal(new Set(answers).size, 1)
  const subjects = async (email: string) => (await receive(email)).map(({ subject }) => subject)
  t.strictSame(await subjects(known), ['You already have an account'])
  t.strictSame(await subjects(google), ['You already have an account'])
  t.strictSame(await subjects(disabled), [])
  t.strictSame(await subjects(unknown), ['Confirm your email address'])
  t.equal((await login(known)).status, 200, 'and nothing was changed')
})

t.test('of 32 clicks at once one makes the account', async (t) => {
  const email = 'race@example.com'
  await register(email)
  const token = (await receive(email)).at(-1)?.token
  const answers = await Promise.all(Array.from({ length: 32 }, () => verify(token)))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal((await peopleWith(email)).length, 1)
})

t.test(
  'an attacker who signs up with my address, before or after me, never gets their password in',
  async (t) => {
    const theirs = 'the password of an attacker'
    for (const [name, passwords] of [
      ['before', [theirs, password]],
      ['after', [password, theirs]],
    ] as const) {
      const email = `contested-${name}@example.com`
      const mails = []
      for (const secret of passwords) {
        await register(email, secret)
        mails.push(...(await receive(email)))
      }
      t.equal((await verify(mails[0]?.token)).status, 410, 'superseded')
      t.match((await verify(mails[1]?.token)).body, { email, next: 'choose_password' })
      for (const secret of passwords) t.equal((await login(email, secret)).status, 401)
      const [choose] = await receive(email)
      t.match(choose, { subject: 'Choose your password', token: /^fhp_/ })
      const body = { token: choose?.token, password: 'chosen by the owner' }
      t.equal((await call('POST', '/auth/password/reset', { body })).status, 204)
      t.equal((await login(email, 'chosen by the owner')).status, 200)
    }
  },
)

t.test('asking for the link again keeps the password that was chosen', async (t) => {
  const email = 'again@example.com'
  await register(email)
  const [first] = await receive(email)
  t.equal((await call('POST', '/auth/email/resend', { body: { email } })).status, 202)
  const [second] = await receive(email)
  t.equal((await verify(first?.token)).status, 410)
  t.match((await verify(second?.token)).body, { next: 'sign_in' })
  t.equal((await login(email)).status, 200)
})

t.test('a link is gone when there is an account with the address by then', async (t) => {
  const email = 'overtaken@example.com'
  await register(email)
  const [mail] = await receive(email)
  await db.insertInto('people').values({ id: crypto.randomUUID(), email, first_name: 'Other' }).execute()
  t.match((await verify(mail?.token)).body, { status: 410, code: 'gone' })
  t.match(await peopleWith(email), [{ first_name: 'Other' }])
})

t.test('the password waits as a hash', async (t) => {
  await register('waiting@example.com', 'canary password')
  await receive('waiting@example.com')
  const rows = await db.selectFrom('mailed_tokens').selectAll().execute()
  t.notMatch(JSON.stringify(rows), /canary/)
  t.match(JSON.stringify(rows), /argon2id/)
})
