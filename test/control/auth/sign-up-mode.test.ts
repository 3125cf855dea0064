import t from 'tap'
import { insertPerson } from '../../../src/master/people.ts'
import { type Freehold, startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { openBrowser } from '../../helpers/provider-browser.ts'
import { startHonestProvider } from '../../helpers/providers.ts'

const password = 'a long passphrase'
const publicUrl = 'http://localhost:4000'

/** The Admin of a new tenant, whose account was there before nobody could sign up any more. */
const oldAdmin = async ({ call, service }: Freehold): Promise<string> => {
  const email = 'admin@example.com'
  const passwordHash = await service.passwords.hash(password)
  const names = { firstName: 'Old', lastName: null }
  const { id } = await service.master.db
    .transaction()
    .execute((trx) => insertPerson(trx, { email, ...names, passwordHash, emailVerified: true }))
  await service.manager.refillSpares()
  await service.manager.createTenant(service.master.db, {
    ...{ name: 'Acme', plan: 'free', tier: 'shared' },
    firstAdmin: id,
    by: { actor: { kind: 'person', id } },
  })
  return String((await call('POST', '/auth/login', { body: { email, password } })).body.accessToken)
}

const register = ({ call }: Freehold, email: string, invitationToken?: string) =>
  call('POST', '/auth/register', {
    body: { email, password, firstName: 'New', ...(invitationToken && { invitationToken }) },
  })

const modes = [
  { SIGN_UP: 'invited', VERIFY_EMAIL: 'before', invited: 201 },
  { SIGN_UP: 'invited', VERIFY_EMAIL: 'after', invited: 201 },
  { SIGN_UP: 'closed', VERIFY_EMAIL: 'after', invited: 403 },
] as const

for (const { invited, ...mode } of modes) {
  t.test(`with ${JSON.stringify(mode)} nobody makes an account by themselves`, async (t) => {
    const mailbox = await openMailbox(t)
    const redirectUri = `${publicUrl}/auth/honest/callback`
    const honest = await startHonestProvider(t, 'HONEST', { redirectUri })
    const env = { ...mode, ...mailbox.env, ...honest.env, RATE_LIMITS: 'on', HOST: '127.0.0.1' }
    const freehold = await startFreehold(t, env)
    const { app, call, service } = freehold
    const token = await oldAdmin(freehold)
    const invite = (email: string) =>
      call('POST', '/api/invitations', { token, body: { email, role: 'Viewer' } })
    const email = 'new@example.com'
    t.match((await register(freehold, email)).body, { status: 403, code: 'forbidden' })
    t.equal((await invite(email)).status, 201)
    const [mail] = await mailbox.receive(service, email)
    t.match((await register(freehold, 'x@example.com', mail?.token)).body, { status: 403, code: 'forbidden' })
    const answer = await register(freehold, email, mail?.token)
    t.equal(answer.status, invited)
    if (invited === 201) t.match(answer.body, { user: { emailVerified: true }, tenant: { name: 'Acme' } })
    const found = await service.master.db
      .selectFrom('people')
      .select('email')
      .where('email', 'in', [email, 'x@example.com'])
      .execute()
    t.strictSame(found, invited === 201 ? [{ email }] : [])

    // The same by a provider that vouches for the address.
    const guest = 'guest@example.com'
    for (const [login, address] of Object.entries({ guest, stranger: 'stranger@example.com' })) {
      honest.people.set(login, { email: address, email_verified: true })
    }
    t.equal((await invite(guest)).status, 201)
    const [letter] = await mailbox.receive(service, guest)
    const visit = (login: string, invitationToken?: string) =>
      openBrowser(app, publicUrl).visit(
        `/auth/honest${invitationToken === undefined ? '' : `?invitationToken=${invitationToken}`}`,
        { login },
      )
    const people = async () =>
      (
        await service.master.db
          .selectFrom('people')
          .select('email')
          .where('email', 'in', [guest, 'stranger@example.com'])
          .execute()
      ).map((row) => row.email)
    t.match((await visit('guest')).body, { code: 'forbidden' }, 'without the invitation')
    t.match((await visit('stranger', letter?.token)).body, { code: 'forbidden' }, 'with somebody else’s')
    t.match((await visit('guest', `${letter?.token}x`)).body, {
      code: invited === 201 ? 'not_found' : 'forbidden',
    })
    t.strictSame(await people(), [])
    const place = await visit('guest', letter?.token)
    if (invited === 403) {
      t.match(place.body, { code: 'forbidden' })
    } else {
      t.match(place.body, { user: { email: guest, emailVerified: true }, tenant: { name: 'Acme' } })
      t.match((await visit('stranger', letter?.token)).body, { code: 'gone' }, 'once')
      t.match((await visit('guest', letter?.token)).body, { user: { email: guest } }, 'who is known signs in')
    }
    t.strictSame(await people(), invited === 201 ? [guest] : [])
  })
}

t.test('invitations to one address, and of one tenant, have a limit', async (t) => {
  const freehold = await startFreehold(t, { RATE_LIMITS: 'on', HOST: '127.0.0.1' })
  const { call } = freehold
  const token = await oldAdmin(freehold)
  const invite = (email: string) =>
    call('POST', '/api/invitations', { token, body: { email, role: 'Viewer' } })
  const id = (await invite('one@example.com')).body.id
  const resend = () => call('POST', `/api/invitations/${id}/resend`, { token })
  for (let n = 0; n < 9; n += 1) t.equal((await resend()).status, 200)
  const refused = { status: 429, body: { code: 'rate_limited' }, headers: { 'retry-after': /^\d+$/ } }
  t.match(await resend(), refused, 'the address')
  const statuses: number[] = []
  for (let n = 0; n < 90; n += 1) statuses.push((await invite(`to-${n}@example.com`)).status)
  t.equal(statuses.filter((status) => status === 201).length, 89)
  t.match(await invite('last@example.com'), refused, 'the tenant')
  const add = () =>
    call('POST', '/api/members', { token, body: { email: 'none@example.com', role: 'Viewer' } })
  for (let n = 0; n < 100; n += 1) await add()
  t.match(await add(), refused, 'who has an account is not to be found out for thousands')
})
