import t from 'tap'
import { addMember, startFreehold } from '../../helpers/freehold.ts'
import { planHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant, join } = freehold
const { db } = service.master
const { operator, asOperator, newPlan, patchPlan, givePlan } = await planHands(freehold)

const unlimited = {
  ...{ seats: null, projects: null, jobsPerDay: null },
  ...{ requestsPerMinute: null, connections: null, storageBytes: null },
}
const choose = (token: string, plan: string) =>
  call('PUT', '/api/tenant/subscription', { token, body: { plan } })
const subscription = async (token: string) => (await call('GET', '/api/tenant/subscription', { token })).body
const entries = async (action: string, entityId: string) =>
  db
    .selectFrom('audit_log')
    .select(['actor_id', 'details'])
    .where('action', '=', action)
    .where('entity_id', '=', entityId)
    .execute()

t.test('plans are there from the start: free is everybody’s, and limits nobody', async (t) => {
  const { body } = await asOperator('GET', '/platform/plans/free')
  t.match(body, {
    key: 'free',
    status: 'active',
    weight: 1,
    limits: unlimited,
    trialDays: null,
    selfService: true,
  })
  t.match(
    (await asOperator('DELETE', '/platform/plans/free')).body,
    { code: 'conflict', detail: /it stays/ },
    'also before anybody has it',
  )
  const { token } = await newTenant()
  t.match(await subscription(token), {
    plan: { key: 'free' },
    status: 'active',
    trialEndsAt: null,
    expiresAt: null,
    changedBy: null,
  })
})

t.test('a plan is made, read, listed, changed and deleted, and audited', async (t) => {
  const made = await asOperator('POST', '/platform/plans', {
    ...{ key: 'gold', name: ' Gold ', description: 'Shines.', weight: 3 },
    ...{ limits: { seats: 5, storageBytes: 9_007_199_254_740_991 }, trialDays: 30, fallsBackTo: 'free' },
  })
  const limits = { ...unlimited, seats: 5, storageBytes: 9_007_199_254_740_991 }
  const expected = {
    ...{ id: String, key: 'gold', name: 'Gold', description: 'Shines.', weight: 3, limits, trialDays: 30 },
    ...{ selfService: false, fallsBackTo: 'free', status: 'active', tenants: 0 },
  }
  t.match(made, { status: 201, headers: { location: '/platform/plans/gold' }, body: expected })
  t.match((await asOperator('GET', '/platform/plans/gold')).body, expected)
  const all = (await asOperator('GET', '/platform/plans')).body.data as unknown as { key: string }[]
  t.strictSame(
    all.map(({ key }) => key),
    ['gold', 'business', 'team', 'free'],
  )
  const first = await asOperator('GET', '/platform/plans?limit=3')
  t.match(await asOperator('GET', `/platform/plans?limit=3&cursor=${first.body.nextCursor}`), {
    body: { data: [{ key: 'free' }], nextCursor: null },
  })
  t.match(await asOperator('PATCH', '/platform/plans/gold', { limits: { seats: null, projects: 0 } }), {
    status: 200,
    body: { name: 'Gold', limits: { ...limits, seats: null, projects: 0 } },
  })
  t.match(await asOperator('POST', '/platform/plans', { key: 'gold', name: 'X' }), {
    status: 409,
    body: { code: 'conflict' },
  })
  t.equal((await asOperator('DELETE', '/platform/plans/gold')).status, 204)
  t.equal((await asOperator('GET', '/platform/plans/gold')).status, 404)
  for (const action of ['created', 'updated', 'deleted']) {
    t.match(await entries(`plan.${action}`, String(made.body.id)), [
      { actor_id: operator.personId, details: { plan: 'gold' } },
    ])
  }
})

t.test('what a plan can’t be is refused', async (t) => {
  const name = 'X'
  const wrong: [string, object][] = [
    ['no name', { key: 'x1' }],
    ['a key that is none', { key: 'X 1', name }],
    ['no seat at all', { key: 'x1', name, limits: { seats: 0 } }],
    ['an unknown limit', { key: 'x1', name, limits: { cats: 1 } }],
    ['a limit as text', { key: 'x1', name, limits: { seats: '5' } }],
    ['too much for a number', { key: 'x1', name, limits: { storageBytes: 9_007_199_254_740_992 } }],
    ['a fallback that is not there', { key: 'x1', name, fallsBackTo: 'nothing' }],
    ['a fallback that ends itself', { key: 'x1', name, fallsBackTo: 'team' }],
    ['itself as fallback', { key: 'x1', name, fallsBackTo: 'x1' }],
    ...['tenantId', 'userId', 'role', 'platformAdmin', 'id', 'createdAt', 'status', 'tenants'].map(
      (field): [string, object] => [field, { key: 'x1', name, [field]: 'x' }],
    ),
  ]
  for (const [what, body] of wrong) {
    t.match(
      await asOperator('POST', '/platform/plans', body),
      { status: 400, body: { code: 'validation_failed' } },
      what,
    )
  }
  t.equal((await asOperator('GET', '/platform/plans/x1')).status, 404)
  for (const change of [
    {},
    { key: 'y' },
    { tenants: 1 },
    { limits: { seats: 0 } },
    { status: 'gone' },
    { fallsBackTo: 'team' },
  ]) {
    t.equal((await asOperator('PATCH', '/platform/plans/team', change)).status, 400, JSON.stringify(change))
  }
})

t.test('what new tenants begin with stays for everybody; what others fall back to stays', async (t) => {
  for (const change of [{ status: 'archived' }, { trialDays: 3 }, { selfService: false }]) {
    t.match((await asOperator('PATCH', '/platform/plans/free', change)).body, { code: 'conflict' })
  }
  t.match((await asOperator('DELETE', '/platform/plans/free')).body, { code: 'conflict' })
  const below = await newPlan()
  await newPlan({}, { fallsBackTo: below })
  for (const change of [{ status: 'archived' }, { trialDays: 3 }]) {
    t.match((await asOperator('PATCH', `/platform/plans/${below}`, change)).body, { code: 'conflict' })
  }
  t.match((await asOperator('DELETE', `/platform/plans/${below}`)).body, { code: 'conflict' })
})

t.test('a plan that a tenant has is archived, not deleted; who has it keeps it', async (t) => {
  const { tenantId, token } = await newTenant()
  const plan = await newPlan()
  await givePlan(tenantId, plan)
  t.match((await asOperator('DELETE', `/platform/plans/${plan}`)).body, {
    code: 'conflict',
    detail: /archive/,
  })
  t.match((await patchPlan(plan, { status: 'archived' })).body, { status: 'archived', tenants: 1 })
  t.match(await subscription(token), { plan: { key: plan } })
  const other = await newTenant()
  t.match((await choose(other.token, plan)).body, { code: 'validation_failed' })
  t.match((await asOperator('PUT', `/platform/tenants/${other.tenantId}/subscription`, { plan })).body, {
    code: 'validation_failed',
  })
  t.match((await givePlan(tenantId, plan)).body, { plan: { key: plan } }, 'new terms for who has it')
})

t.test('everybody signed in sees what can be chosen, and nothing else', async (t) => {
  const hidden = await newPlan({}, { selfService: false })
  const archived = await newPlan()
  await patchPlan(archived, { status: 'archived' })
  const { token } = await signUp()
  const { status, body } = await call('GET', '/plans', { token })
  t.equal(status, 200)
  const keys = (body.data as unknown as { key: string }[]).map(({ key }) => key)
  t.ok(keys.includes('free') && keys.includes('team'))
  t.notOk(keys.includes(hidden) || keys.includes(archived))
  t.strictSame(Object.keys((body.data as unknown as object[])[0] ?? {}), [
    ...['key', 'name', 'description', 'limits', 'trialDays'],
  ])
  t.strictSame((await subscription((await newTenant()).token)).choices, body.data)
})

t.test('a new tenant begins with the plan that was asked for, and its trial', async (t) => {
  await service.manager.refillSpares()
  const { token, personId } = await signUp()
  const answer = await call('POST', '/tenants', { token, body: { name: 'Team', plan: 'team' } })
  t.match(answer, { status: 201, body: { plan: 'team' } })
  const row = await db
    .selectFrom('subscriptions')
    .selectAll()
    .where('tenant_id', '=', String(answer.body.id))
    .executeTakeFirst()
  t.match(row, { status: 'trialing', trials: ['team'], changed_by: personId })
  const days = ((row?.ends_at?.getTime() ?? 0) - Date.now()) / 86_400_000
  t.ok(days > 13.9 && days < 14.1)
  const hidden = await newPlan({}, { selfService: false })
  for (const plan of [hidden, 'business', 'nothing']) {
    t.match(await call('POST', '/tenants', { token, body: { name: 'X', plan } }), {
      status: 400,
      body: { code: 'validation_failed', errors: [{ path: '/plan' }] },
    })
  }
  const managed = await asOperator('POST', '/platform/tenants', {
    ...{ name: 'Managed', slug: `managed-${process.pid}`, adminEmail: 'boss@example.com', plan: hidden },
  })
  t.match(managed, { body: { plan: hidden } })
  t.equal(managed.status < 300, true)
})

t.test('an Admin chooses a plan, once with its trial; others may not', async (t) => {
  const admin = await newTenant()
  const plan = await newPlan({}, { trialDays: 7, fallsBackTo: 'free' })
  for (const role of ['Viewer', 'Writer', 'Basic']) {
    const { token } = await join(admin, role)
    t.match((await choose(token, plan)).body, { code: 'forbidden' }, role)
  }
  t.match(await choose(admin.token, plan), {
    status: 200,
    body: { plan: { key: plan }, status: 'trialing', trialEndsAt: /Z$/, changedBy: admin.personId },
  })
  t.match((await call('GET', '/api/tenant', { token: admin.token })).body, { plan })
  const ends = (await subscription(admin.token)).trialEndsAt
  t.match((await choose(admin.token, plan)).body, { trialEndsAt: ends }, 'again changes nothing')
  t.match((await choose(admin.token, 'free')).body, {
    plan: { key: 'free' },
    status: 'active',
    expiresAt: null,
  })
  t.match(await choose(admin.token, plan), { status: 409, body: { code: 'conflict', detail: /trial/ } })
  t.match(await subscription(admin.token), { plan: { key: 'free' } })
  t.match(await entries('subscription.changed', admin.tenantId), [
    { actor_id: admin.personId, details: { plan, before: 'free' } },
    { details: { plan: 'free', before: plan } },
  ])
  for (const plan of ['business', 'nothing']) {
    t.match(await choose(admin.token, plan), { status: 400, body: { code: 'validation_failed' } })
  }
  for (const field of ['tenantId', 'status', 'expiresAt', 'trial', 'role']) {
    const body = { plan: 'free', [field]: 'x' }
    const answer = await call('PUT', '/api/tenant/subscription', { token: admin.token, body })
    t.match(answer.body, { code: 'validation_failed' }, field)
  }
})

t.test('of an Admin who is demoted while they choose, the choice is refused', async (t) => {
  const admin = await newTenant()
  const other = await join(admin, 'Admin')
  const plan = await newPlan()
  let choosing: Promise<{ body: object }> | undefined
  await db.transaction().execute(async (trx) => {
    await trx.selectFrom('tenants').select('id').where('id', '=', admin.tenantId).forUpdate().execute()
    choosing = choose(other.token, plan)
    const waits = () =>
      db
        .selectFrom('pg_locks' as never)
        .select('pid' as never)
        .where('granted' as never, '=', false as never)
        .executeTakeFirst()
    while ((await waits()) === undefined) await new Promise((resolve) => setImmediate(resolve))
    await trx
      .updateTable('memberships')
      .set({ status: 'inactive' })
      .where('tenant_id', '=', admin.tenantId)
      .where('person_id', '=', other.personId)
      .execute()
  })
  t.match((await choosing)?.body, { code: 'forbidden' })
  t.match(await subscription(admin.token), { plan: { key: 'free' } })
})

t.test('a plan that is too small is no choice, and says of what there is too much', async (t) => {
  const admin = await newTenant()
  await join(admin, 'Viewer')
  for (const name of ['A', 'B']) await call('POST', '/api/projects', { token: admin.token, body: { name } })
  await db.insertInto('tenant_usage').values({ tenant_id: admin.tenantId, storage_bytes: '5000' }).execute()
  const small = await newPlan({ seats: 1, projects: 1, storageBytes: 4_999 })
  t.match(await choose(admin.token, small), {
    status: 409,
    body: {
      code: 'conflict',
      errors: [
        { path: '/seats', message: 'limit 1, used 2' },
        { path: '/projects', message: 'limit 1, used 2' },
        { path: '/storageBytes', message: 'limit 4999, used 5000' },
      ],
    },
  })
  t.match(await subscription(admin.token), { plan: { key: 'free' } })
  const exact = await newPlan({ seats: 2, projects: 2, storageBytes: 5_000 })
  t.equal((await choose(admin.token, exact)).status, 200, 'what is just enough is')
  // An operator may: nothing is lost, and nothing is added.
  t.match((await givePlan(admin.tenantId, small)).body, { plan: { key: small } })
  const data = (await call('GET', '/api/projects', { token: admin.token })).body.data as unknown as object[]
  t.equal(data.length, 2)
})

t.test('platform admins give any active plan, until any time to come', async (t) => {
  const { tenantId, token } = await newTenant()
  const url = `/platform/tenants/${tenantId}/subscription`
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString()
  const terms = { plan: { key: 'business' }, status: 'active', expiresAt, trialEndsAt: null }
  t.match((await givePlan(tenantId, 'business', { expiresAt })).body, terms)
  t.match(await subscription(token), { ...terms, changedBy: operator.personId })
  t.match((await asOperator('GET', url)).body, terms)
  t.match((await givePlan(tenantId, 'team', { trial: true })).body, { status: 'trialing', trialEndsAt: /Z$/ })
  t.match((await givePlan(tenantId, 'business', { trial: true, expiresAt })).body, { trialEndsAt: expiresAt })
  t.match((await givePlan(tenantId, 'free')).body, { status: 'active', expiresAt: null })
  for (const body of [
    { plan: 'free', expiresAt: new Date(Date.now() - 1).toISOString() },
    { plan: 'free', expiresAt: 'tomorrow' },
    { plan: 'free', trial: true },
    { plan: 'nothing' },
    { plan: 'free', status: 'active' },
    {},
  ]) {
    t.match(await asOperator('PUT', url, body), { status: 400 }, JSON.stringify(body))
  }
  await db.updateTable('tenants').set({ status: 'deleted' }).where('id', '=', tenantId).execute()
  t.match(await asOperator('PUT', url, { plan: 'free' }), { status: 410 })
})

t.test('usage says of each limit how much is used', async (t) => {
  const admin = await newTenant()
  const viewer = await join(admin, 'Viewer')
  await join(admin, 'Basic')
  const { body: robot } = await call('POST', '/api/system-users', {
    token: admin.token,
    body: { name: 'Robot', role: 'Basic', serviceType: 'test' },
  })
  t.ok(robot.id)
  await addMember(service, admin.tenantId, (await signUp()).personId, 'Viewer')
  await db
    .updateTable('memberships')
    .set({ status: 'inactive' })
    .where('tenant_id', '=', admin.tenantId)
    .where('person_id', 'not in', [admin.personId, viewer.personId])
    .execute()
  await call('POST', '/api/projects', { token: admin.token, body: { name: 'A' } })
  const limits = {
    seats: 9,
    projects: 8,
    jobsPerDay: 7,
    requestsPerMinute: 600,
    connections: 5,
    storageBytes: 4,
  }
  await givePlan(admin.tenantId, await newPlan(limits))
  const lasting = { period: null, resetsAt: null }
  const expected = {
    seats: { used: 2, limit: 9, ...lasting },
    projects: { used: 1, limit: 8, ...lasting },
    jobsPerDay: { limit: 7, period: 'day', resetsAt: /T00:00:00.000Z$/ },
    requestsPerMinute: { used: Number, limit: 600, period: 'minute', resetsAt: /:00.000Z$/ },
    connections: { used: Number, limit: 5, ...lasting },
    storageBytes: { used: null, limit: 4, ...lasting },
  }
  const { body } = await call('GET', '/api/tenant/usage', { token: viewer.token })
  t.match(body, { plan: String, usage: expected, storageMeasuredAt: null })
  const connections = (body.usage as unknown as { connections: { used: number } }).connections.used
  t.ok(connections >= 1 && connections <= 5)
  t.match((await asOperator('GET', `/platform/tenants/${admin.tenantId}`)).body, {
    id: admin.tenantId,
    usage: expected,
    subscription: { status: 'active' },
  })
  await db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', admin.tenantId).execute()
  t.match((await asOperator('GET', `/platform/tenants/${admin.tenantId}`)).body, {
    usage: { seats: { used: 2 }, projects: { used: null } },
  })
})
