import { once } from 'node:events'
import { sql } from 'kysely'
import t from 'tap'
import { forkApart } from '../../helpers/apart.ts'
import { type Answer, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const nodes = [await startNode(t, postgres), await startNode(t, postgres)] as const
const [{ call, service, signUp, newTenant }, other] = nodes
const { db } = service.master

type Hands = { call: (typeof nodes)[0]['call'] }
const refresh = (token: unknown, node: Hands = nodes[0]) =>
  node.call('POST', '/auth/refresh', { body: { refreshToken: token } })
const switchTo = (token: unknown, tenant: string | null, node: Hands = nodes[0]) =>
  node.call('POST', '/auth/switch', { token: String(token), body: { tenant } })
const context = (token: unknown, node: Hands) => node.call('GET', '/auth/context', { token: String(token) })
/** Lets the leeway of every session pass. */
const passLeeway = () => sql`update sessions set rotated_at = rotated_at - interval '11 seconds'`.execute(db)

t.test('64 at once on two nodes, round after round: one successor each, no fork', async (t) => {
  const { refreshToken, personId } = await signUp()
  let token: unknown = refreshToken
  for (let round = 0; round < 10; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, n) => refresh(token, nodes[n % 2] as Hands)),
    )
    t.strictSame([...new Set(answers.map(({ status }) => status))], [200])
    const successors = new Set(answers.map(({ body }) => body.refreshToken))
    t.equal(successors.size, 1)
    token = [...successors][0]
  }
  const generations = await db
    .selectFrom('refresh_tokens')
    .innerJoin('sessions', 'sessions.id', 'refresh_tokens.session_id')
    .select('refresh_tokens.generation')
    .where('sessions.person_id', '=', personId)
    .execute()
  t.equal(generations.length, 11, 'one token a round and the first')
})

t.test('a node killed after its commit and before its answer: the old token gets the lost one', async (t) => {
  const { refreshToken } = await signUp()
  const child = forkApart(new URL('dying-node.ts', import.meta.url))
  t.teardown(() => child.kill('SIGKILL'))
  const ready = once(child, 'message')
  child.send({ master: postgres.master, provisioner: postgres.provisioner })
  await ready
  const committed = once(child, 'message')
  const exit = once(child, 'exit')
  child.send(refreshToken)
  t.match(await committed, [{ statusCode: 200 }])
  t.match(await exit, [null, 'SIGKILL'])
  const again = await refresh(refreshToken)
  t.equal(again.status, 200)
  t.equal((await context(again.body.accessToken, other)).status, 200)
  t.equal((await refresh(again.body.refreshToken, other)).status, 200)
})

t.test('a session that ends on one node is refused at once by the other', async (t) => {
  const { token, refreshToken, personId } = await signUp()
  t.equal((await context(token, other)).status, 200)
  await call('POST', '/auth/logout', { token })
  const refused: Answer = await untilRefused(() => context(token, other))
  t.match(refused.body, { code: 'unauthenticated' })
  t.equal((await refresh(refreshToken, other)).status, 401)
  t.ok(personId)
})

/** The other node hears by NOTIFY: no limit of our own, the file's says what did not come. */
const untilRefused = async (look: () => Promise<Answer>): Promise<Answer> => {
  for (;;) {
    const answer = await look()
    if (answer.status !== 200) return answer
  }
}

t.test(
  'a switch makes no other tab a thief: what it held before goes on working, however late',
  async (t) => {
    const member = await newTenant()
    await passLeeway()
    const { body } = await switchTo(member.token, null)
    await passLeeway()
    const late = await refresh(member.refreshToken)
    t.equal(late.status, 200, 'the tab that did not switch')
    t.equal(late.body.refreshToken, body.refreshToken, 'and both hold one token again')
    t.equal((await refresh(body.refreshToken)).status, 200)
  },
)

t.test('switching again and again, and losing every answer, costs no session', async (t) => {
  const member = await newTenant()
  for (const tenant of [null, member.slug, null, member.slug, null]) {
    t.equal((await switchTo(member.token, tenant)).status, 200)
    await passLeeway()
  }
  t.equal((await refresh(member.refreshToken)).status, 200)
})

t.test('once the token of a switch was presented, those before it are spent like any other', async (t) => {
  const member = await newTenant()
  const { body } = await switchTo(member.token, null)
  t.equal((await refresh(body.refreshToken)).status, 200)
  t.equal((await refresh(member.refreshToken)).status, 200, 'for ten seconds a tab may be late')
  await passLeeway()
  t.match((await refresh(member.refreshToken)).body, { status: 401, code: 'token_reused' })
  t.match((await refresh(body.refreshToken)).body, { status: 401, code: 'unauthenticated' })
})

t.test(
  'two tabs that keep one token refresh and switch at once, answers in any order: nobody is signed out',
  async (t) => {
    for (let round = 0; round < 10; round += 1) {
      const member = await newTenant()
      await passLeeway()
      const answers = await Promise.all([
        refresh(member.refreshToken, other),
        switchTo(member.token, null),
        refresh(member.refreshToken),
        switchTo(member.token, member.slug, other),
      ])
      t.strictSame(
        answers.map(({ status }) => status),
        [200, 200, 200, 200],
      )
      await passLeeway()
      // Whichever answer came last is what the tabs have kept.
      const kept = answers[round % answers.length]?.body.refreshToken
      t.equal((await refresh(kept)).status, 200)
    }
  },
)

t.test('refresh keeps the tenant that was chosen last, on either node', async (t) => {
  const member = await newTenant()
  await switchTo(member.token, null)
  await switchTo(member.token, member.slug, other)
  const { body } = await refresh(member.refreshToken)
  t.match((await context(body.accessToken, nodes[0])).body, { tenant: { id: member.tenantId } })
})
