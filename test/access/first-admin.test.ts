import t from 'tap'
import { ensureFirstAdmin, firstAdminShown } from '../../src/access/first-admin.ts'
import { startFreehold } from '../helpers/freehold.ts'

const { call, service, signUp } = await startFreehold(t)
const { db } = service.master

const ensure = (email: string) =>
  ensureFirstAdmin(db, service.passwords, { email, password: "the operator's own" })

t.test('once it was shown, later starts leave every account alone', async (t) => {
  await firstAdminShown(db)
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
    .execute()
  t.strictSame(entries, [{ entity_id: stranger.personId }])
})
