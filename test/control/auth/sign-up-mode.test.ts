import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

for (const mode of ['invited', 'closed']) {
  t.test(`with SIGN_UP=${mode} nobody makes an account by themselves`, async (t) => {
    const { call, service } = await startFreehold(t, { SIGN_UP: mode })
    const body = { email: 'new@example.com', password: 'a long passphrase', firstName: 'New' }
    t.match((await call('POST', '/auth/register', { body })).body, { status: 403, code: 'forbidden' })
    const found = await service.master.db
      .selectFrom('people')
      .where('email', '=', body.email)
      .selectAll()
      .execute()
    t.strictSame(found, [])
  })
}
