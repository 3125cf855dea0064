import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const { call, service, signUp } = await startFreehold(t)

t.test('a person reads and changes their names', async (t) => {
  const { token, personId, email } = await signUp()
  t.match((await call('GET', '/auth/me', { token })).body, { id: personId, email, firstName: 'Test' })
  const changed = await call('PATCH', '/auth/me', { token, body: { firstName: ' Ada ', lastName: null } })
  t.match(changed.body, { id: personId, firstName: 'Ada', lastName: null, emailVerified: false })
  t.match((await call('GET', '/auth/context', { token })).body, {
    user: { firstName: 'Ada', lastName: null },
  })
  const entries = await service.master.db
    .selectFrom('audit_log')
    .select('action')
    .where('actor_id', '=', personId)
    .execute()
  t.ok(entries.some(({ action }) => action === 'person.updated'))
})

t.test('nothing else can be changed there', async (t) => {
  const { token } = await signUp()
  for (const body of [
    {},
    { email: 'other@example.com' },
    { platformAdmin: true },
    { emailVerified: true },
    { id: '018f0000-0000-7000-8000-000000000000' },
    { firstName: '' },
    { firstName: 'A\nBcc: x' },
    { firstName: null },
  ]) {
    t.match((await call('PATCH', '/auth/me', { token, body })).body, {
      status: 400,
      code: 'validation_failed',
    })
  }
})
