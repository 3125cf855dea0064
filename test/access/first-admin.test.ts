import t from 'tap'
import { announceFirstAdmin, type FirstAdmin } from '../../src/access/first-admin.ts'
import { startFreehold } from '../helpers/freehold.ts'

const { call, service, signUp } = await startFreehold(t)
const { db } = service.master

/** Starts once and answers what it shows. */
const announce = async (email: string, password?: string): Promise<FirstAdmin | undefined> => {
  const shown: (FirstAdmin | undefined)[] = []
  await announceFirstAdmin(db, service.passwords, { email, password }, (admin) => shown.push(admin))
  t.equal(shown.length, 1)
  return shown[0]
}
const ensure = (email: string) => announce(email, "the operator's own")

t.test('of nodes that start at once, one makes the admin and shows the password that works', async (t) => {
  const email = 'operator@example.com'
  const shown = (await Promise.all(Array.from({ length: 4 }, () => announce(email)))).filter((admin) => admin)
  t.equal(shown.length, 1)
  const { status } = await call('POST', '/auth/login', { body: { email, password: shown[0]?.password } })
  t.equal(status, 200)
})

t.test('what could not be shown is made anew by the next start', async (t) => {
  await db.updateTable('installation').set({ admin_shown_at: null }).execute()
  const email = 'unseen@example.com'
  const broken = () => {
    throw new Error('the terminal is gone')
  }
  await t.rejects(
    announceFirstAdmin(db, service.passwords, { email, password: undefined }, broken),
    /terminal/,
  )
  const shown = await announce(email)
  const { status } = await call('POST', '/auth/login', { body: { email, password: shown?.password } })
  t.equal(status, 200)
})

t.test('once it was shown, later starts leave every account alone', async (t) => {
  const person = await signUp()
  t.equal(await ensure(person.email), undefined)
  t.match((await call('GET', '/auth/context', { token: person.token })).body, {
    user: { platformAdmin: false },
  })
})

t.test('who had signed up with the admin address before does not become the admin', async (t) => {
  const stranger = await signUp()
  await db.updateTable('installation').set({ admin_shown_at: null }).execute()
  await ensure(stranger.email)
  t.equal((await call('GET', '/platform/tenants', { token: stranger.token })).status, 401)
  const { refreshToken, email, password } = stranger
  t.equal((await call('POST', '/auth/refresh', { body: { refreshToken } })).status, 401)
  t.equal((await call('POST', '/auth/login', { body: { email, password } })).status, 401)
  const { body } = await call('POST', '/auth/login', { body: { email, password: "the operator's own" } })
  t.match(body, { user: { platformAdmin: true } })
  const entries = await db
    .selectFrom('audit_log')
    .select('entity_id')
    .where('action', '=', 'platform_admin.password_set')
    .orderBy('id')
    .execute()
  t.strictSame(entries.at(-1), { entity_id: stranger.personId })
})
