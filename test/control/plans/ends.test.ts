import { sql } from 'kysely'
import t from 'tap'
import { type Member, startNode } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { heard, planHands } from './hands.ts'

const mailbox = await openMailbox(t)
const postgres = await startTestPostgres(t, 'furnished')
const freehold = await startNode(t, postgres, mailbox.env)
const other = await startNode(t, postgres, mailbox.env)
const { call, service, signUp, newTenant, join, asSuperuser } = freehold
const { db } = service.master
const { newPlan, patchPlan, givePlan } = await planHands(freehold)

const endPlans = () => service.accountTasks['end-plans']({})
const subjects = async (email: string): Promise<string[]> =>
  (await mailbox.receive(service, email))
    .map(({ subject }) => subject)
    .filter((subject) => subject.includes('plan'))
const subscription = async ({ token }: Member) =>
  (await call('GET', '/api/tenant/subscription', { token })).body
const endsIn = async (tenantId: string, hours: number): Promise<void> => {
  await db
    .updateTable('subscriptions')
    .set({ ends_at: sql<Date>`now() + make_interval(hours => ${hours})` })
    .where('tenant_id', '=', tenantId)
    .execute()
}
const create = (admin: Member, node = freehold) =>
  node.call('POST', '/api/projects', { token: admin.token, body: { name: 'X' } })
const list = (admin: Member, node = freehold) => node.call('GET', '/api/projects', { token: admin.token })

t.test(
  'a trial that ends is followed by the plan below; its Admins hear of it before and then',
  async (t) => {
    const admin = await newTenant()
    const [second, viewer] = [await join(admin, 'Admin'), await join(admin, 'Viewer')]
    const plan = await newPlan({ seats: 3 }, { trialDays: 14, fallsBackTo: 'free', name: 'Shiny' })
    const body = { plan }
    await call('PUT', '/api/tenant/subscription', { token: admin.token, body })
    await endPlans()
    t.strictSame(await subjects(admin.email), [], 'not yet')
    await endsIn(admin.tenantId, 71)
    await Promise.all([endPlans(), other.service.accountTasks['end-plans']({})])
    await endPlans()
    t.strictSame(await subjects(admin.email), ['Your plan ends soon'], 'once')
    t.strictSame(await subjects(second.email), ['Your plan ends soon'])
    t.strictSame(await subjects(viewer.email), [])
    t.match(await subscription(admin), { plan: { key: plan }, status: 'trialing' })
    await endsIn(admin.tenantId, -1)
    await Promise.all([endPlans(), other.service.accountTasks['end-plans']({})])
    await endPlans()
    t.match(await subscription(admin), {
      ...{ plan: { key: 'free' }, status: 'active', trialEndsAt: null, expiresAt: null, changedBy: null },
    })
    t.strictSame(await subjects(admin.email), ['Your plan has ended'], 'once')
    const entries = await db
      .selectFrom('audit_log')
      .select(['actor_kind', 'details'])
      .where('action', '=', 'subscription.ended')
      .where('tenant_id', '=', admin.tenantId)
      .execute()
    t.strictSame(entries, [{ actor_kind: 'system', details: { plan: 'free', before: plan } }])
    t.match((await call('PUT', '/api/tenant/subscription', { token: admin.token, body })).body, {
      code: 'conflict',
    })
  },
)

t.test('another end is another warning; a plan without an end is left alone', async (t) => {
  const admin = await newTenant()
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
  await givePlan(admin.tenantId, 'business', { expiresAt })
  await endPlans()
  t.strictSame(await subjects(admin.email), ['Your plan ends soon'])
  await givePlan(admin.tenantId, await newPlan(), { expiresAt })
  await endPlans()
  t.strictSame(await subjects(admin.email), ['Your plan ends soon'], 'another plan with the same end')
  await givePlan(admin.tenantId, 'business', { expiresAt: new Date(Date.now() + 7_200_000).toISOString() })
  await endPlans()
  t.strictSame(await subjects(admin.email), ['Your plan ends soon'])
  await givePlan(admin.tenantId, 'business')
  await endPlans()
  t.strictSame(await subjects(admin.email), [])
  t.match(await subscription(admin), { plan: { key: 'business' }, status: 'active' })
})

t.test('without a plan below, everything can be read and deleted and nothing added', async (t) => {
  const admin = await newTenant()
  const viewer = await join(admin, 'Viewer')
  const plan = await newPlan({}, { selfService: false })
  const project = await create(admin)
  const job = await call('POST', '/api/jobs', {
    token: admin.token,
    body: { type: 'noop', idempotencyKey: 'x', runAt: new Date(Date.now() + 3_600_000).toISOString() },
  })
  const cancel = () => call('POST', `/api/jobs/${job.body.id}/cancel`, { token: admin.token })
  await givePlan(admin.tenantId, plan, { expiresAt: new Date(Date.now() + 3_600_000).toISOString() })
  await list(admin, other)
  await endsIn(admin.tenantId, -1)
  await list(admin, other)
  const ended = heard(other, `tenant:${admin.tenantId}`)
  await endPlans()
  await ended
  t.match(await subscription(admin), { plan: { key: plan }, status: 'expired', expiresAt: /Z$/ })
  const refused = { status: 403, body: { code: 'plan_limit_reached', errors: [{ path: '/subscription' }] } }
  t.match(await create(admin), refused)
  t.match(await create(admin, other), refused)
  const url = `/api/projects/${project.body.id}`
  t.match(await call('PATCH', url, { token: admin.token, body: { name: 'Y' } }), refused)
  t.equal((await list(admin)).status, 200)
  t.equal((await call('DELETE', url, { token: admin.token })).status, 204)
  t.equal((await cancel()).status, 200, 'what adds nothing')
  const { email } = await signUp()
  t.match(
    await call('POST', '/api/members', { token: admin.token, body: { email, role: 'Viewer' } }),
    refused,
    'no seat either',
  )
  const additions = {
    roles: { name: 'Late' },
    policies: { name: 'Late' },
    'system-users': { name: 'Late', role: 'Viewer', serviceType: 'test' },
  }
  for (const [path, body] of Object.entries(additions)) {
    t.match(await call('POST', `/api/${path}`, { token: admin.token, body }), refused, path)
  }
  t.equal((await call('DELETE', `/api/members/${viewer.personId}`, { token: admin.token })).status, 204)
  t.match((await mailbox.receive(service, admin.email)).at(-1)?.text, /read and deleted/)
  const body = { plan: 'free' }
  t.equal((await call('PUT', '/api/tenant/subscription', { token: admin.token, body })).status, 200)
  t.equal((await create(admin)).status, 201)
  await until(async () => (await create(admin, other)).status === 201)
})

t.test('a deleted tenant is told nothing, and one tenant’s trouble is not the others’', async (t) => {
  const [deleted, broken, fine] = [await newTenant(), await newTenant(), await newTenant()]
  const plan = await newPlan({}, { trialDays: 1, fallsBackTo: 'free' })
  for (const { tenantId } of [deleted, broken, fine]) {
    await givePlan(tenantId, plan, { trial: true })
    await endsIn(tenantId, -1)
  }
  await db.updateTable('tenants').set({ status: 'deleted' }).where('id', '=', deleted.tenantId).execute()
  await sql`alter table audit_log add constraint trouble check (tenant_id <> ${sql.lit(broken.tenantId)}) not valid`.execute(
    db,
  )
  await t.rejects(endPlans())
  const planOf = async ({ tenantId }: Member) =>
    (await db.selectFrom('tenants').select('plan').where('id', '=', tenantId).executeTakeFirst())?.plan
  t.strictSame([await planOf(deleted), await planOf(broken), await planOf(fine)], [plan, plan, 'free'])
  await sql`alter table audit_log drop constraint trouble`.execute(db)
  await endPlans()
  t.strictSame([await planOf(deleted), await planOf(broken)], [plan, 'free'])
})

t.test(
  'what a tenant’s database holds is measured; beyond the plan nothing is added, on any node',
  async (t) => {
    const admin = await newTenant()
    const project = await create(admin)
    await service.manager.measureStorage()
    const used = async (): Promise<number> => {
      const { body } = await call('GET', '/api/tenant/usage', { token: admin.token })
      return (body.usage as unknown as { storageBytes: { used: number } }).storageBytes.used
    }
    const before = await used()
    t.ok(before > 1_000_000)
    const plan = await newPlan({ storageBytes: before + 500_000 })
    await givePlan(admin.tenantId, plan)
    t.equal((await create(admin, other)).status, 201)
    await asSuperuser(
      admin.tenantId,
      `create table ballast as select repeat(md5(n::text), 40) from generate_series(1, 2000) n`,
    )
    await service.manager.measureStorage()
    const after = await used()
    t.ok(after > before + 500_000)
    await until(async () => (await create(admin)).status === 403)
    t.match((await create(admin)).body, {
      code: 'plan_limit_reached',
      errors: [{ path: '/storageBytes', message: `limit ${before + 500_000}, used ${after}` }],
    })
    await until(async () => (await create(admin, other)).status === 403)
    t.equal((await list(admin)).status, 200)
    const url = `/api/projects/${project.body.id}`
    t.equal((await call('PATCH', url, { token: admin.token, body: { name: 'Y' } })).status, 403)
    t.equal((await call('DELETE', url, { token: admin.token })).status, 204)
    await patchPlan(plan, { limits: { storageBytes: null } })
    t.equal((await create(admin)).status, 201, 'a bigger plan acts at once')
    await until(async () => (await create(admin, other)).status === 201)
    await patchPlan(plan, { limits: { storageBytes: before + 500_000 } })
    t.equal((await create(admin)).status, 403)
    await asSuperuser(admin.tenantId, 'drop table ballast')
    await service.manager.measureStorage()
    await until(async () => (await create(admin)).status === 201)
    await until(async () => (await create(admin, other)).status === 201)
  },
)
