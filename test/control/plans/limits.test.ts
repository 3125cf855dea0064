import t from 'tap'
import { type Answer, addMember, type Member, type SignedIn, startNode } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { planHands } from './hands.ts'

const mailbox = await openMailbox(t)
const postgres = await startTestPostgres(t, 'furnished')
const freehold = await startNode(t, postgres, mailbox.env)
const other = await startNode(t, postgres, mailbox.env)
const { call, service, signUp, newTenant, join } = freehold
const { db } = service.master
const { newPlan, patchPlan, givePlan } = await planHands(freehold)

/** A new tenant with this plan. */
const tenantOn = async (limits: Record<string, number | null>): Promise<Member & { plan: string }> => {
  const admin = await newTenant()
  const plan = await newPlan(limits)
  await givePlan(admin.tenantId, plan)
  return { ...admin, plan }
}
/** Somebody with an account whose address is proved. */
const guest = async (): Promise<SignedIn> => {
  const person = await signUp()
  const now = new Date()
  await db.updateTable('people').set({ email_verified_at: now }).where('id', '=', person.personId).execute()
  return person
}
/** Somebody who never signs in. */
const stranger = async (): Promise<{ personId: string; email: string }> => {
  const [id, email] = [crypto.randomUUID(), `${crypto.randomUUID()}@example.com`]
  await db.insertInto('people').values({ id, email, first_name: 'X' }).execute()
  return { personId: id, email }
}
const add = (admin: Member, { email }: { email: string }) =>
  call('POST', '/api/members', { token: admin.token, body: { email, role: 'Viewer' } })
const invite = (admin: Member, { email }: { email: string }) =>
  call('POST', '/api/invitations', { token: admin.token, body: { email, role: 'Viewer' } })
const accept = (person: SignedIn, id: string, node = freehold) =>
  node.call('POST', `/invitations/${id}/accept`, { token: person.token })
const seatsOf = async (tenantId: string): Promise<number> =>
  (
    await db
      .selectFrom('memberships')
      .select('person_id')
      .where('tenant_id', '=', tenantId)
      .where('status', '=', 'active')
      .execute()
  ).length
const full = (limit: string, most: number, used = most) => ({
  status: 403,
  body: {
    code: 'plan_limit_reached',
    detail: new RegExp(`allows ${most} .*${used} are used`),
    errors: [{ path: `/${limit}`, message: `limit ${most}, used ${used}` }],
  },
})
const tally = (answers: readonly Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { status, body } of answers) {
    const name = status < 300 ? 'done' : String(body.code)
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

t.test('a seat more than the plan has is given in no way', async (t) => {
  const admin = await tenantOn({ seats: 2 })
  const [asked, late] = [await guest(), await stranger()]
  const waiting = await invite(admin, asked)
  t.equal(waiting.status, 201)
  const second = await join(admin, 'Viewer')
  t.match(await add(admin, late), full('seats', 2), 'added')
  t.match(await invite(admin, late), full('seats', 2), 'invited')
  t.match(await accept(asked, String(waiting.body.id)), full('seats', 2), 'accepted')
  const byMail = await mailbox.receive(service, asked.email)
  t.match(
    await call('POST', `/invitations/${byMail.at(-1)?.token}/accept`, { token: asked.token }),
    full('seats', 2),
    'accepted by the link',
  )
  t.equal(await seatsOf(admin.tenantId), 2)
  const patch = (status: string) =>
    call('PATCH', `/api/members/${second.personId}`, { token: admin.token, body: { status } })
  t.equal((await patch('inactive')).status, 200)
  t.equal((await accept(asked, String(waiting.body.id))).status, 200, 'a seat that is free is given')
  t.match(await patch('active'), full('seats', 2), 'made active again')
  t.equal((await call('DELETE', `/api/members/${asked.personId}`, { token: admin.token })).status, 204)
  t.equal((await patch('active')).status, 200)
  await patchPlan(admin.plan, { limits: { seats: 1 } })
  t.equal((await patch('active')).status, 200, 'who has a seat keeps it')
})

t.test('a sign-up with an invitation takes a seat, or makes no account', async (t) => {
  const admin = await tenantOn({ seats: 2 })
  const email = `newcomer-${process.pid}@example.com`
  t.equal((await invite(admin, { email })).status, 201)
  const invitationToken = (await mailbox.receive(service, email)).at(-1)?.token
  await join(admin, 'Viewer')
  const register = () =>
    call('POST', '/auth/register', {
      body: { email, password: 'a long passphrase', firstName: 'New', invitationToken },
    })
  t.match(await register(), full('seats', 2))
  t.strictSame(await db.selectFrom('people').select('id').where('email', '=', email).execute(), [])
  await givePlan(admin.tenantId, 'free')
  t.equal((await register()).status, 201)
})

t.test('system users take no seat', async (t) => {
  const admin = await tenantOn({ seats: 1 })
  const made = await call('POST', '/api/system-users', {
    token: admin.token,
    body: { name: 'Robot', role: 'Viewer', serviceType: 'test' },
  })
  t.equal(made.status, 201)
  await patchPlan(admin.plan, { limits: { seats: 2 } })
  t.equal((await add(admin, await stranger())).status, 201)
})

t.test('of 64 who want the last seat at once, by three ways over two nodes, one gets it', async (t) => {
  const admin = await tenantOn({ seats: 4 })
  await join(admin, 'Viewer')
  await join(admin, 'Viewer')
  const guests = await Promise.all(Array.from({ length: 10 }, guest))
  const people = [...guests, ...(await Promise.all(Array.from({ length: 54 }, stranger)))]
  const invitations = await Promise.all(guests.map((person) => invite(admin, person)))
  t.strictSame(tally(invitations), { done: 10 })
  const inactive = people.slice(40).map(({ personId }) => personId)
  for (const personId of inactive) await addMember(service, admin.tenantId, personId, 'Viewer')
  await db
    .updateTable('memberships')
    .set({ status: 'inactive' })
    .where('tenant_id', '=', admin.tenantId)
    .where('person_id', 'in', inactive)
    .execute()
  const answers = await Promise.all(
    people.map((person, n) => {
      const node = n % 2 === 0 ? freehold : other
      const [one] = guests.slice(n)
      if (one !== undefined) return accept(one, String(invitations[n]?.body.id), node)
      const by = { token: admin.token }
      if (n < 40) {
        return node.call('POST', '/api/members', { ...by, body: { email: person.email, role: 'Viewer' } })
      }
      return node.call('PATCH', `/api/members/${person.personId}`, { ...by, body: { status: 'active' } })
    }),
  )
  t.strictSame(tally(answers), { done: 1, plan_limit_reached: 63 })
  t.equal(await seatsOf(admin.tenantId), 4)
})

t.test('a smaller plan and a new member at once: one of them wins, and never both', async (t) => {
  for (let round = 0; round < 2; round += 1) {
    const admin = await newTenant()
    const small = await newPlan({ seats: 1 })
    const person = await stranger()
    const chosen = call('PUT', '/api/tenant/subscription', { token: admin.token, body: { plan: small } })
    const added = add(admin, person)
    const outcome = [(await chosen).status, (await added).status]
    t.ok([200, 201].some((status) => outcome.includes(status)))
    t.not(String(outcome), '200,201', 'one seat, two members')
  }
})

t.test('a project more than the plan has is refused, until one is deleted', async (t) => {
  const admin = await tenantOn({ projects: 2 })
  const create = (name: string, headers = {}) =>
    call('POST', '/api/projects', { token: admin.token, body: { name }, headers })
  const first = await create('A', { 'idempotency-key': 'a' })
  t.equal(first.status, 201)
  t.equal((await create('B')).status, 201)
  t.match(await create('C'), full('projects', 2))
  t.match(await create('A', { 'idempotency-key': 'a' }), { status: 201, body: { id: first.body.id } })
  const url = `/api/projects/${first.body.id}`
  t.equal((await call('PATCH', url, { token: admin.token, body: { name: 'AA' } })).status, 200)
  t.equal((await call('DELETE', url, { token: admin.token })).status, 204)
  t.equal((await create('C')).status, 201)
  await patchPlan(admin.plan, { limits: { projects: 0 } })
  t.match(await create('D'), full('projects', 0, 0))
})

t.test('of 16 who want the last project at once, over two nodes, one gets it', async (t) => {
  const admin = await tenantOn({ projects: 3 })
  const create = (n: number) =>
    (n % 2 === 0 ? freehold : other).call('POST', '/api/projects', {
      token: admin.token,
      body: { name: `P${n}` },
    })
  t.strictSame(tally([await create(0), await create(1)]), { done: 2 })
  const answers = await Promise.all(Array.from({ length: 16 }, (_, n) => create(n)))
  t.strictSame(tally(answers), { done: 1, plan_limit_reached: 15 })
  t.equal((await freehold.asSuperuser(admin.tenantId, 'select from projects')).length, 3)
})

t.test(
  'a job more than the plan allows in a day is refused; what was put in before is answered',
  async (t) => {
    const admin = await tenantOn({ jobsPerDay: 3 })
    const put = (n: number) =>
      (n % 2 === 0 ? freehold : other).call('POST', '/api/jobs', {
        token: admin.token,
        body: { type: 'noop', idempotencyKey: `job-${n}` },
      })
    t.equal((await put(0)).status, 202)
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => put(n + 1)))
    t.strictSame(tally(answers), { done: 2, plan_limit_reached: 10 })
    t.match(await put(100), full('jobsPerDay', 3))
    t.equal((await put(0)).status, 200, 'the same again')
    t.match((await call('GET', '/api/tenant/usage', { token: admin.token })).body, {
      usage: { jobsPerDay: { used: 3, limit: 3, period: 'day' } },
    })
    await patchPlan(admin.plan, { limits: { jobsPerDay: 1 } })
    t.equal((await put(0)).status, 200, 'also where there are too many already')
    // Again, with connections that are open by now.
    await patchPlan(admin.plan, { limits: { jobsPerDay: 5 } })
    const more = await Promise.all(Array.from({ length: 16 }, (_, n) => put(n + 20)))
    t.strictSame(tally(more), { done: 2, plan_limit_reached: 14 })
    // Those of yesterday count no more.
    await freehold.asSuperuser(
      admin.tenantId,
      `update jobs set id = overlay(id::text placing '00' from 1)::uuid where idempotency_key = 'job-0'`,
    )
    t.equal((await put(100)).status, 202)
  },
)

t.test('where limits are off, requests are counted and nobody is refused', async (t) => {
  const { token, tenantId } = await tenantOn({ requestsPerMinute: 1 })
  for (let n = 0; n < 3; n += 1) {
    const { status, headers } = await call('GET', '/api/projects', { token })
    t.equal(status, 200)
    t.equal(headers['ratelimit-limit'], undefined)
  }
  t.ok((await service.requests.used(tenantId)) > 0)
})
