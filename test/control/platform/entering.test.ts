import { Logger, runOnce } from 'graphile-worker'
import { sql } from 'kysely'
import t from 'tap'
import { readHoldings } from '../../../src/access/granting.ts'
import { Grants } from '../../../src/access/grants.ts'
import {
  addMember,
  type Member,
  makePlatformAdmin,
  type SignedIn,
  startFreehold,
} from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { until } from '../../helpers/until.ts'

const mailbox = await openMailbox(t)
const { call, service, signUp, newTenant, join, asSuperuser } = await startFreehold(t, mailbox.env)
const { db } = service.master

const newOperator = async (): Promise<SignedIn> => {
  const person = await signUp()
  await makePlatformAdmin(service, person.personId)
  return person
}
const operator = await newOperator()
const reason = 'Ticket 4711: projects are missing'
const enter = (person: SignedIn, tenant: Member, body: object = { reason }) =>
  call('POST', '/auth/switch', { token: person.token, body: { tenant: tenant.tenantId, ...body } })
const projects = async (token: unknown): Promise<number> =>
  (await call('GET', '/api/projects', { token: String(token) })).status
const mails = async (person: SignedIn) =>
  (await mailbox.receive(service, person.email)).filter(({ subject }) => /operator/.test(subject))

/** Tells every tenant what waits for it, twice each, and answers who has entered this one by its own audit log. */
const entered = async (tenant: Member) => {
  await runOnce({
    pgPool: service.master.pool,
    logger: new Logger(() => () => {}),
    noHandleSignals: true,
    taskList: {
      'tenant-outbox': async ({ tenantId }) => {
        await service.manager.deliverOutbox(tenantId)
        await service.manager.deliverOutbox(tenantId)
      },
    },
  })
  return asSuperuser(
    tenant.tenantId,
    "select * from audit_log where action = 'platform_admin.entered_tenant' order by id",
  )
}

t.test('a platform admin who is no member has to say why', async (t) => {
  const tenant = await newTenant()
  const answer = await enter(operator, tenant, {})
  t.match(answer.body, {
    code: 'validation_failed',
    detail: /reason/,
    errors: [{ path: '/reason' }],
  })
  for (const blank of ['', '  ', 'x'.repeat(501)]) {
    t.match((await enter(operator, tenant, { reason: blank })).body, { code: 'validation_failed' })
  }
  t.match((await enter(await signUp(), tenant)).body, { code: 'not_found' }, 'and nobody else gets in')
  const unknown = { ...tenant, tenantId: 'no-such-tenant' }
  t.match((await enter(operator, unknown)).body, { code: 'not_found' })
  t.equal((await db.selectFrom('tenant_entries').selectAll().execute()).length, 0)
  t.strictSame(await entered(tenant), [])
})

t.test('with a reason they work there as an Admin, and both sides and all Admins know', async (t) => {
  const tenant = await newTenant()
  const [second, viewer] = [await join(tenant, 'Admin'), await join(tenant, 'Viewer')]
  const answer = await enter(operator, { ...tenant, tenantId: tenant.slug })
  t.match(answer.body, { tenant: { id: tenant.tenantId }, role: 'Admin', tokenType: 'Bearer' })
  t.ok((answer.body.permissions as unknown as string[]).includes('tenant-api:tenant:update'))
  const token = String(answer.body.accessToken)
  const made = await call('POST', '/api/projects', { token, body: { name: 'By the operator' } })
  t.equal(made.status, 201)
  t.match((await call('GET', '/auth/context', { token })).body, {
    tenant: { id: tenant.tenantId },
    role: 'Admin',
  })
  const giver = { tenantId: tenant.tenantId, personId: operator.personId }
  t.ok((await db.transaction().execute((trx) => readHoldings(trx, giver))).has('tenant-api:role:create'))

  const entries = await db
    .selectFrom('audit_log')
    .selectAll()
    .where('action', '=', 'platform_admin.entered_tenant')
    .where('tenant_id', '=', tenant.tenantId)
    .execute()
  t.match(entries, [{ actor_id: operator.personId, details: { reason, until: /Z$/ } }])
  const written = await entered(tenant)
  t.equal(written.length, 1, 'once, however often it is told')
  t.match(written, [{ id: entries[0]?.id, actor_id: operator.personId, entity_id: tenant.tenantId }])
  t.strictSame(written[0]?.at, entries[0]?.at)

  for (const admin of [tenant, second]) {
    const [mail, ...more] = await mails(admin)
    t.strictSame(more, [])
    t.match(mail?.text, new RegExp(reason))
    t.match(mail?.text, new RegExp(operator.email.replaceAll('.', '\\.')))
  }
  t.strictSame(await mails(viewer), [])
  t.match((await call('GET', '/tenants', { token })).body, { data: [] }, 'and are still no member')
})

t.test('after an hour nothing is granted, whatever is remembered or refreshed', async (t) => {
  const tenant = await newTenant()
  const { body } = await enter(operator, tenant)
  t.equal(await projects(body.accessToken), 200)
  const entry = () =>
    db
      .selectFrom('tenant_entries')
      .select(sql<number>`extract(epoch from expires_at - now())::int`.as('seconds'))
      .where('tenant_id', '=', tenant.tenantId)
      .executeTakeFirstOrThrow()
  const { seconds } = await entry()
  t.ok(seconds > 3_500 && seconds <= 3_600, `${seconds}`)

  let ahead = 0
  const grants = new Grants(service.master, () => true, { now: () => new Date(Date.now() + ahead) })
  const remembered = () => grants.grant(tenant.tenantId, operator.personId)
  t.match(await remembered(), { role: 'Admin' })
  ahead = 3_500_000
  t.match(await remembered(), { role: 'Admin' })
  t.match(grants.peekGrant(tenant.tenantId, operator.personId), { role: 'Admin' })
  ahead = 3_601_000
  t.equal(await remembered(), undefined)
  t.equal(grants.peekGrant(tenant.tenantId, operator.personId), undefined)

  const refreshed = await call('POST', '/auth/refresh', { body: { refreshToken: body.refreshToken } })
  t.equal(await projects(refreshed.body.accessToken), 200)
  t.ok((await entry()).seconds <= seconds, 'a refresh prolongs nothing')
  await db
    .updateTable('tenant_entries')
    .set({ expires_at: sql<Date>`now()` })
    .where('tenant_id', '=', tenant.tenantId)
    .execute()
  // By the change notification.
  await until(async () => (await projects(body.accessToken)) === 403)
  const again = await call('POST', '/auth/refresh', { body: { refreshToken: refreshed.body.refreshToken } })
  t.equal(await projects(again.body.accessToken), 403)
  const { accessToken } = again.body
  t.match((await call('GET', '/auth/context', { token: String(accessToken) })).body, {
    tenant: null,
    role: null,
  })
  t.match((await enter(operator, tenant, {})).body, { code: 'validation_failed' }, 'a new reason is due')
  await service.accountTasks['tidy-access']({})
  const left = await db
    .selectFrom('tenant_entries')
    .selectAll()
    .where('tenant_id', '=', tenant.tenantId)
    .execute()
  t.strictSame(left, [])
})

t.test('who is no platform admin any more is out at once', async (t) => {
  const tenant = await newTenant()
  const other = await newOperator()
  const { body } = await enter(other, tenant)
  t.equal(await projects(body.accessToken), 200)
  const path = `/platform/admins/${other.personId}`
  t.equal((await call('DELETE', path, { token: operator.token })).status, 204)
  t.equal(await projects(body.accessToken), 403)
  t.match((await enter(other, tenant)).body, { code: 'not_found' })
})

t.test(
  'a platform admin who is a member needs no reason, is what their role says, and alarms nobody',
  async (t) => {
    const tenant = await newTenant()
    const other = await newOperator()
    await enter(other, tenant)
    await mails(tenant)
    await addMember(service, tenant.tenantId, other.personId, 'Viewer')
    service.grants.forget(`membership:${tenant.tenantId}:${other.personId}`)
    const { body } = await enter(other, tenant, {})
    t.match(body, { role: 'Viewer' })
    const made = await call('POST', '/api/projects', { token: String(body.accessToken), body: { name: 'x' } })
    t.equal(made.status, 403)
    t.strictSame(await mails(tenant), [])
  },
)

t.test('a suspended tenant is closed to platform admins too, and still hears who came', async (t) => {
  const tenant = await newTenant()
  await entered(tenant)
  const { body } = await enter(operator, tenant)
  const set = (status: 'active' | 'suspended') =>
    db.updateTable('tenants').set({ status }).where('id', '=', tenant.tenantId).execute()
  await set('suspended')
  await until(async () => (await projects(body.accessToken)) === 403)
  t.match((await enter(operator, tenant)).body, { code: 'tenant_suspended' })
  t.equal((await entered(tenant)).length, 1)
})

t.test('whom a platform admin lets in as a program, and as what, its Admins are told', async (t) => {
  const tenant = await newTenant()
  const viewer = await join(tenant, 'Viewer')
  const asOperator = (method: string, path: string, body: object) =>
    call(method, `/platform/system-users${path}`, { token: operator.token, body })
  const made = await asOperator('POST', '', {
    ...{ name: 'Reports', email: 'reports@example.com', serviceType: 'test' },
  })
  const letIn = (role: string) => asOperator('PUT', `/${made.body.id}/tenants/${tenant.slug}`, { role })
  t.equal((await letIn('Writer')).status, 204)
  const [mail, ...more] = await mails(tenant)
  t.strictSame(more, [])
  for (const words of ['Reports', 'Writer', operator.email]) t.ok(mail?.text.includes(words), words)
  t.strictSame(await mails(viewer), [], 'who is no Admin is not')
  t.equal((await letIn('Writer')).status, 204)
  t.strictSame(await mails(tenant), [], 'the same again is no news')
  t.equal((await letIn('Viewer')).status, 204)
  t.match(await mails(tenant), [{ text: /Viewer/ }])
})
