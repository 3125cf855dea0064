import { sql } from 'kysely'
import t from 'tap'
import { RequestCounts } from '../../../src/access/request-counts.ts'
import { tenantsOfOne } from '../../../src/control/limits.ts'
import { createLogger } from '../../../src/kernel/log.ts'
import { findPlacement } from '../../../src/master/placement.ts'
import { type Freehold, type Member, startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { heard, planHands } from './hands.ts'

/** Stands still, so that no minute ends in the middle of a test. */
const clock = {
  at: new Date(),
  now() {
    return this.at
  },
}
const nextMinute = (): void => {
  clock.at = new Date(clock.at.getTime() + 60_000)
}
const postgres = await startTestPostgres(t, 'furnished')
// Signs people up; limits are for the other two.
const door = await startNode(t, postgres, {}, undefined, clock)
const limited = { RATE_LIMITS: 'on' }
const here = await startNode(t, postgres, limited, undefined, clock)
const there = await startNode(t, postgres, limited, undefined, clock)
const { db } = door.service.master
const { newPlan, patchPlan, givePlan } = await planHands(door)

const tenantOn = async (limits: Record<string, number | null>): Promise<Member & { plan: string }> => {
  const admin = await door.newTenant()
  const plan = await newPlan(limits)
  await givePlan(admin.tenantId, plan)
  return { ...admin, plan }
}
const ask = ({ call }: Freehold, { token }: Member) => call('GET', '/api/projects', { token })
const statuses = async (node: Freehold, admin: Member, times: number): Promise<number[]> => {
  const seen: number[] = []
  for (let n = 0; n < times; n += 1) seen.push((await ask(node, admin)).status)
  return seen
}
const all = (status: number, times: number) => Array.from({ length: times }, () => status)

t.test('a request more than the plan allows in a minute is refused until the next one', async (t) => {
  const admin = await tenantOn({ requestsPerMinute: 20 })
  const left = 60 - clock.at.getUTCSeconds() - (clock.at.getUTCMilliseconds() > 0 ? 1 : 0)
  const first = await ask(here, admin)
  t.match(first.headers, { 'ratelimit-limit': '20', 'ratelimit-remaining': '19' })
  t.ok(Math.abs(Number(first.headers['ratelimit-reset']) - left) <= 1)
  t.strictSame(await statuses(here, admin, 19), all(200, 19))
  const refused = await ask(here, admin)
  t.match(refused, {
    status: 429,
    headers: { 'ratelimit-limit': '20', 'ratelimit-remaining': '0', 'retry-after': /^[1-9]\d?$/ },
    body: { code: 'rate_limited', errors: [{ path: '/requestsPerMinute', message: 'limit 20, used 20' }] },
  })
  t.equal((await here.call('GET', '/api/members', { token: admin.token })).status, 429, 'over the master too')
  t.equal(
    (await here.call('GET', '/auth/context', { token: admin.token })).status,
    200,
    'the account is free',
  )
  const other = await tenantOn({ requestsPerMinute: 20 })
  t.equal((await ask(here, other)).status, 200, 'another tenant has its own')
  nextMinute()
  t.equal((await ask(here, admin)).status, 200)
})

t.test('who is refused for what they may not do has not used anything up', async (t) => {
  const admin = await tenantOn({ requestsPerMinute: 3 })
  const basic = await door.join(admin, 'Basic')
  for (let n = 0; n < 5; n += 1) {
    t.equal((await here.call('GET', '/api/members', { token: basic.token })).status, 403)
  }
  t.strictSame(await statuses(here, admin, 4), [200, 200, 200, 429])
})

t.test('nodes count together', async (t) => {
  const admin = await tenantOn({ requestsPerMinute: 100 })
  t.strictSame(await statuses(here, admin, 60), all(200, 60))
  await here.service.requests.flush()
  t.equal((await ask(there, admin)).status, 200)
  await there.service.requests.flush()
  t.strictSame(await statuses(there, admin, 40), [...all(200, 39), 429])
  await there.service.requests.flush()
  t.equal(await here.service.requests.used(admin.tenantId), 100)
  t.match((await door.call('GET', '/api/tenant/usage', { token: admin.token })).body, {
    usage: { requestsPerMinute: { limit: 100, period: 'minute' } },
  })
  // The first node learns it with the next thing it tells.
  t.equal((await ask(here, admin)).status, 200)
  await here.service.requests.flush()
  t.equal((await ask(here, admin)).status, 429)
})

t.test('they tell each other by themselves, and at once where a tenth of the limit is used', async (t) => {
  const admin = await tenantOn({ requestsPerMinute: 30 })
  const told = async (): Promise<number> =>
    (
      await db
        .selectFrom('request_counts')
        .select('requests')
        .where('tenant_id', '=', admin.tenantId)
        .executeTakeFirst()
    )?.requests ?? 0
  await statuses(here, admin, 3)
  await until(async () => (await told()) === 3)
  await statuses(there, admin, 1)
  await until(async () => (await told()) === 4)
  t.ok(true)
})

t.test('what cannot be told to the master is told later, and counts meanwhile', async (t) => {
  const log = createLogger('silent')
  const counts = new RequestCounts(db, log, () => clock.at.getTime())
  const tenantId = crypto.randomUUID()
  await sql`alter table request_counts rename to elsewhere`.execute(db)
  for (let n = 0; n < 5; n += 1) counts.take(tenantId, 6)
  await counts.flush()
  t.equal(counts.take(tenantId, 6).granted, true)
  t.equal(counts.take(tenantId, 6).granted, false)
  await sql`alter table elsewhere rename to request_counts`.execute(db)
  t.equal(await counts.used(tenantId), 6)
  t.equal(counts.take(tenantId, 6).granted, false, 'known once, not twice')
  t.equal(counts.take(tenantId, 7).granted, true)
  await counts.close()
  const later = new RequestCounts(db, log, () => clock.at.getTime())
  t.equal(await later.used(tenantId), 7, 'closing tells what is left')
  nextMinute()
  t.equal(await later.used(tenantId), 0)
  await Promise.all([later.close(), later.close()])
})

t.test(
  '64 requests on both nodes at once: each node lets no more through than the plan allows',
  async (t) => {
    const admin = await tenantOn({ requestsPerMinute: 8 })
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, n) => ask(n % 2 === 0 ? here : there, admin)),
    )
    const granted = answers.filter(({ status }) => status === 200).length
    t.ok(granted >= 8 && granted <= 16, String(granted))
    t.equal(answers.filter(({ status }) => status === 429).length, 64 - granted)
  },
)

t.test('another limit, and another plan, acts on the other node', async (t) => {
  const admin = await tenantOn({ requestsPerMinute: 1 })
  t.strictSame(await statuses(there, admin, 2), [200, 429])
  const changed = heard(there, `plan:${admin.plan}`)
  await patchPlan(admin.plan, { limits: { requestsPerMinute: 3 } })
  await changed
  t.strictSame(await statuses(there, admin, 3), [200, 200, 429])
  const given = heard(there, `tenant:${admin.tenantId}`)
  await givePlan(admin.tenantId, 'free')
  await given
  t.equal((await ask(there, admin)).headers['ratelimit-limit'], undefined)
})

t.test(
  'a tenant has no more connections than its plan allows, and more as soon as it allows more',
  async (t) => {
    const admin = await tenantOn({ connections: 3 })
    const { router } = here.service
    /** Six transactions at once, each of which needs a connection; how many had one while the others waited. */
    const atOnce = async (): Promise<number> => {
      const end = Promise.withResolvers<void>()
      let running = 0
      const work = Array.from({ length: 6 }, () =>
        router.use(admin.tenantId, (tenantDb) =>
          tenantDb.transaction().execute(async (trx) => {
            await sql`select 1`.execute(trx)
            running += 1
            await end.promise
          }),
        ),
      )
      await until(async () => running > 0 && running + router.stats().waiters === 6)
      const most = running
      end.resolve()
      await Promise.all(work)
      return most
    }
    // Three nodes share what it may have.
    t.equal(await atOnce(), 1)
    const changed = heard(here, `plan:${admin.plan}`)
    await patchPlan(admin.plan, { limits: { connections: 6 } })
    await changed
    // The second connection is opened while others wait already.
    let most = 0
    for (let n = 0; n < 20 && most < 2; n += 1) most = await atOnce()
    t.equal(most, 2)
  },
)

t.test('where connections are short, a tenant counts as much as its plan says', async (t) => {
  const { tenantId } = await door.newTenant()
  const placement = () => findPlacement(here.service.master, here.service.box)(tenantId)
  t.match(await placement(), { weight: 1 })
  await givePlan(tenantId, await newPlan({}, { weight: 3 }))
  t.match(await placement(), { weight: 3 })
})

t.test('a change of a tenant by the route of its account is one of its requests', async (t) => {
  const { tenantId, token } = await tenantOn({ requestsPerMinute: 1 })
  const rename = () => here.call('PATCH', `/tenants/${tenantId}`, { token, body: { name: 'Renamed' } })
  t.equal((await rename()).status, 200)
  t.match(await rename(), { status: 429, body: { code: 'rate_limited' } })
})

t.test('one person does not create tenants without end', async (t) => {
  const { personId, token } = await door.signUp()
  for (let n = 0; n < tenantsOfOne.burst; n += 1) await there.service.limits.take(tenantsOfOne, personId)
  t.match(await here.call('POST', '/tenants', { token, body: { name: 'One more' } }), {
    status: 429,
    headers: { 'retry-after': /^\d+$/ },
    body: { code: 'rate_limited' },
  })
})
