import t from 'tap'
import { addMember, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant } = freehold

t.test('the right password signs in', async (t) => {
  const { email, password, personId } = await signUp()
  const answer = await call('POST', '/auth/login', { body: { email: ` ${email.toUpperCase()}`, password } })
  t.equal(answer.status, 200)
  t.match(answer.body, { user: { id: personId, email }, tenant: null, tokenType: 'Bearer' })
})

t.test('unknown address, wrong password and disabled account get the same answer', async (t) => {
  const { email, password, personId } = await signUp()
  const wrong = await call('POST', '/auth/login', { body: { email, password: 'not it at all' } })
  const unknown = await call('POST', '/auth/login', { body: { email: 'nobody@example.com', password } })
  await service.master.db
    .updateTable('people')
    .set({ disabled_at: new Date() })
    .where('id', '=', personId)
    .execute()
  const disabled = await call('POST', '/auth/login', { body: { email, password } })
  for (const answer of [wrong, unknown, disabled]) {
    t.match(answer.body, { status: 401, code: 'invalid_credentials' })
    t.strictSame({ ...answer.body, requestId: '' }, { ...wrong.body, requestId: '' })
  }
})

t.test('with exactly one active tenant, it is chosen', async (t) => {
  const { email, password, tenantId, slug } = await newTenant()
  const { body } = await call('POST', '/auth/login', { body: { email, password } })
  t.match(body, {
    tenant: { id: tenantId, slug, status: 'active', settings: {} },
    role: 'Admin',
    tenants: [{ slug }],
  })
  t.ok((body.permissions as unknown as string[]).includes('tenant-api:project:delete'))
})

t.test('with several tenants none is chosen, unless one is named by id or slug', async (t) => {
  const [first, second] = [await newTenant(), await newTenant()]
  await addMember(service, second.tenantId, first.personId, 'Viewer')
  const { email, password } = first
  t.match((await call('POST', '/auth/login', { body: { email, password } })).body, {
    tenant: null,
    role: null,
  })
  for (const tenant of [second.tenantId, second.slug]) {
    const { body } = await call('POST', '/auth/login', { body: { email, password, tenant } })
    t.match(body, { tenant: { id: second.tenantId }, role: 'Viewer' })
  }
})

t.test("somebody else's tenant is not found", async (t) => {
  const [mine, other] = [await newTenant(), await newTenant()]
  const { email, password } = mine
  const { body } = await call('POST', '/auth/login', { body: { email, password, tenant: other.slug } })
  t.match(body, { status: 404, code: 'not_found' })
})

t.test('a failed sign-in is in the audit log, without what was typed', async (t) => {
  await call('POST', '/auth/login', { body: { email: 'canary@example.com', password: 'canary password' } })
  const entries = await service.master.db
    .selectFrom('audit_log')
    .selectAll()
    .where('action', '=', 'login.failed')
    .execute()
  t.ok(entries.length > 0)
  t.notMatch(JSON.stringify(entries), /canary/)
})

t.test('a password counts as it is: no trimming, no folding of case, no cutting', async (t) => {
  const { email } = await signUp()
  const exact = ` Ünïcode \u0065\u0301 ${'x'.repeat(100)} `
  const newPassword = { password_hash: await service.passwords.hash(exact) }
  await service.master.db.updateTable('people').set(newPassword).where('email', '=', email).execute()
  const status = async (password: string) =>
    (await call('POST', '/auth/login', { body: { email, password } })).status
  t.equal(await status(exact), 200)
  const others = [exact.trim(), exact.toLowerCase(), exact.slice(0, 72), exact.normalize('NFC'), `${exact} `]
  for (const other of others) t.equal(await status(other), 401, other)
})
