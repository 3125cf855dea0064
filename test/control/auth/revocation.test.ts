import t from 'tap'
import { type Answer, addMember, type Member, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const here = await startNode(t, postgres)
const other = await startNode(t, postgres)
const { service, newTenant, join } = here
const { db } = service.master

const ask = ({ token }: Member, node = other): Promise<Answer> => node.call('GET', '/api/projects', { token })

const tenant = await newTenant()

/** A member whom both nodes know: session and membership are remembered, so a refusal is news. */
const newKnown = async (): Promise<Member> => {
  const member = await join(tenant, 'Viewer')
  for (const node of [here, other]) t.equal((await ask(member, node)).status, 200)
  return member
}

/** The other node hears by NOTIFY: there is no limit of our own, the file's says what did not come. */
const refusal = async (look: () => Promise<Answer>): Promise<Answer> => {
  for (;;) {
    const answer = await look()
    if (answer.status !== 200) return answer
  }
}

type Revocation = {
  what: string
  /** By the API where there is one, as it would happen; answers when it is acknowledged. */
  revoke: (member: Member) => Promise<unknown>
  answer: { status: number; code: string }
}

const signedOut = { status: 401, code: 'unauthenticated' }
const shutOut = { status: 403, code: 'forbidden' }
const revocations: Revocation[] = [
  {
    what: 'a session that is ended',
    revoke: ({ token }) => here.call('POST', '/auth/logout', { token }),
    answer: signedOut,
  },
  {
    what: 'all sessions of a person',
    revoke: ({ token }) => here.call('POST', '/auth/logout-all', { token }),
    answer: signedOut,
  },
  {
    what: 'a person who is disabled',
    revoke: ({ personId }) =>
      db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', personId).execute(),
    answer: signedOut,
  },
  {
    what: 'a member who is removed',
    revoke: ({ personId }) => db.deleteFrom('memberships').where('person_id', '=', personId).execute(),
    answer: shutOut,
  },
  {
    what: 'a member who is made inactive',
    revoke: ({ personId }) =>
      db.updateTable('memberships').set({ status: 'inactive' }).where('person_id', '=', personId).execute(),
    answer: shutOut,
  },
  {
    // The last one: it is the tenant of all.
    what: 'a tenant that is suspended',
    revoke: ({ tenantId }) =>
      db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', tenantId).execute(),
    answer: { status: 403, code: 'tenant_suspended' },
  },
]

t.test('what is revoked is refused at once on the node that revoked it: no answer in between', async (t) => {
  for (const path of ['/auth/logout', '/auth/logout-all']) {
    const { token } = await newKnown()
    t.equal((await here.call('POST', path, { token })).status, 204)
    t.match((await here.call('GET', '/auth/context', { token })).body, signedOut)
  }
})

t.test('removed in one tenant, a member goes on in another, with a token that says so', async (t) => {
  const mine = await newKnown()
  const elsewhere = await newTenant()
  await addMember(service, elsewhere.tenantId, mine.personId, 'Viewer')
  const body = { tenant: elsewhere.slug }
  const switched = await here.call('POST', '/auth/switch', { token: mine.token, body })
  const there = { ...mine, token: String(switched.body.accessToken) }
  t.equal((await ask(there)).status, 200)
  await db
    .deleteFrom('memberships')
    .where('person_id', '=', mine.personId)
    .where('tenant_id', '=', elsewhere.tenantId)
    .execute()
  t.match((await refusal(() => ask(there))).body, shutOut)
  t.equal((await ask(mine)).status, 200, 'the token for the tenant they are still in')
})

for (const { what, revoke, answer: expected } of revocations) {
  t.test(`${what}: the access token is refused at once on the other node`, async (t) => {
    const member = await newKnown()
    await revoke(member)
    t.match((await refusal(() => ask(member))).body, expected)
    t.match((await refusal(() => ask(member, here))).body, expected)
    for (const node of [other, here, other])
      t.match((await ask(member, node)).body, expected, 'and stays refused')
  })
}
