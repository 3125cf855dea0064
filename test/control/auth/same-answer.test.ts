import t from 'tap'
import { addressKinds, makeAddresses } from '../../helpers/addresses.ts'
import { type Freehold, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const node = await startNode(t, postgres)
const strict = await startNode(t, postgres, { VERIFY_EMAIL: 'before' })
const passwordHash = await node.service.passwords.hash('the password of all of them')
const addresses = await makeAddresses(node.service.master.db, { tag: 'same', passwordHash })
const system = {
  id: crypto.randomUUID(),
  email: 'same-9@example.com',
  first_name: 'Billing',
  kind: 'system',
} as const
await node.service.master.db.insertInto('people').values(system).execute()

const wanted: { what: string; at: Freehold; url: string; status: number; body: (email: string) => object }[] =
  [
    {
      what: 'login with a wrong password',
      at: node,
      url: '/auth/login',
      status: 401,
      body: (email) => ({ email, password: 'not the password of any' }),
    },
    {
      what: 'login with a wrong password, in cookie mode, for a tenant',
      at: node,
      url: '/auth/login',
      status: 401,
      body: (email) => ({ email, password: 'not the password of any', tenant: 'some-tenant' }),
    },
    { what: 'forgot', at: node, url: '/auth/password/forgot', status: 202, body: (email) => ({ email }) },
    { what: 'resend', at: node, url: '/auth/email/resend', status: 202, body: (email) => ({ email }) },
    {
      what: 'register, where the address is proved first',
      at: strict,
      url: '/auth/register',
      status: 202,
      body: (email) => ({ email, password: 'the password of a stranger', firstName: 'Eve' }),
    },
  ]

for (const { what, at, url, status, body } of wanted) {
  t.test(`${what}: the same status, body and headers for every address`, async (t) => {
    const ask = async (email: string) => {
      const headers = what.includes('cookie') ? { 'x-auth-mode': 'cookie' } : {}
      const answer = await at.call('POST', url, { body: body(email), headers })
      t.equal(answer.status, status, answer.text)
      const { 'x-request-id': id, date: _, ...same } = answer.headers
      return { headers: same, text: answer.text.replace(String(id), '') }
    }
    const first = await ask(addresses.unknown)
    for (const kind of addressKinds) {
      t.strictSame(await ask(addresses[kind]), first, kind)
      t.strictSame(await ask(addresses[kind].toUpperCase()), first, `${kind}, in capitals`)
    }
    t.strictSame(await ask(system.email), first, 'a system user')
  })
}

t.test('the right password of a disabled account is answered like a wrong one', async (t) => {
  const login = (email: string) =>
    node.call('POST', '/auth/login', { body: { email, password: 'the password of all of them' } })
  t.equal((await login(addresses.known)).status, 200, 'it is the right one')
  const { status, body } = await login(addresses.disabled)
  const unknown = await login(addresses.unknown)
  t.equal(status, 401)
  t.strictSame({ ...body, requestId: '' }, { ...unknown.body, requestId: '' })
})
