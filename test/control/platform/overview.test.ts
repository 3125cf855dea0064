import { randomUUID } from 'node:crypto'
import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { enqueue } from '../../../src/queue/enqueue.ts'
import { type Answer, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'

const { call, service, signUp, newTenant } = await startFreehold(t)
const { db } = service.master

const admin = await signUp()
await makePlatformAdmin(service, admin.personId)
const asAdmin = (method: string, path: string, body?: unknown): Promise<Answer> =>
  call(method, `/platform${path}`, { token: admin.token, body })
const tenant = await newTenant()
type Row = Record<string, unknown> & { id: string }
const listed = (answer: Answer) => answer.body.data as unknown as Row[]
const ids = (answer: Answer): string[] => listed(answer).map(({ id }) => id)
const unknown = randomUUID()
const readOnly = [
  ...['/operations', '/clusters', '/databases'].flatMap((path) => [path, `${path}/${randomUUID()}`]),
  '/migrations',
  '/audit',
  '/stats',
]

t.test('every route is for platform admins alone', async (t) => {
  for (const path of readOnly) {
    const url = `/platform${path}`
    t.match((await call('GET', url, { token: tenant.token })).body, { code: 'forbidden' }, path)
    t.match((await call('GET', url)).body, { code: 'unauthenticated' }, path)
  }
})

t.test('operations, clusters and databases are listed, filtered and shown, without a secret', async (t) => {
  const { id: clusterId } = await db.selectFrom('clusters').select('id').executeTakeFirstOrThrow()
  const cluster = {
    id: clusterId,
    name: 'default',
    status: 'open',
    databases: Number,
    connectionBudget: Number,
  }
  t.match(await asAdmin('GET', '/clusters'), { status: 200, body: { data: [cluster], nextCursor: null } })
  t.match((await asAdmin('GET', `/clusters/${clusterId}`)).body, cluster)

  const [database, ...others] = listed(await asAdmin('GET', `/databases?tenant=${tenant.slug}`))
  t.strictSame(others, [])
  const held = { status: 'held', tenantId: tenant.tenantId, cluster: 'default', name: /^t_/, clusterId }
  t.match(database, held)
  t.match((await asAdmin('GET', `/databases/${database?.id}`)).body, held)
  t.ok(ids(await asAdmin('GET', '/databases?status=held')).includes(String(database?.id)))
  t.notOk(ids(await asAdmin('GET', '/databases?status=spare')).includes(String(database?.id)))
  t.strictSame(ids(await asAdmin('GET', `/databases?clusterId=${unknown}`)), [])
  t.strictSame(ids(await asAdmin('GET', '/databases?schemaVersion=0000_none')), [])

  const [built] = listed(await asAdmin('GET', `/operations?databaseId=${database?.id}`))
  t.match(built, { kind: 'build', status: 'succeeded', databaseId: database?.id, error: null })
  t.match((await asAdmin('GET', `/operations/${built?.id}`)).body, { id: built?.id, step: 'done' })
  t.strictSame(ids(await asAdmin('GET', '/operations?status=failed')), [])
  t.strictSame(ids(await asAdmin('GET', '/operations?kind=erase')), [])
  t.strictSame(ids(await asAdmin('GET', `/operations?tenant=${tenant.tenantId}&kind=build`)), [])
  for (const list of ['/operations', '/databases']) {
    const all = ids(await asAdmin('GET', list))
    const first = await asAdmin('GET', `${list}?limit=1`)
    const rest = await asAdmin('GET', `${list}?limit=100&cursor=${first.body.nextCursor ?? ''}`)
    if (all.length > 1) t.strictSame([...ids(first), ...ids(rest)], all)
    t.match((await asAdmin('GET', `${list}?tenant=nobodys`)).body, { code: 'not_found' })
    t.match((await asAdmin('GET', `${list}?status=odd`)).body, { code: 'validation_failed' })
  }
  for (const path of readOnly) {
    const { status, text } = await asAdmin('GET', path)
    t.equal(status, path.split('/').length > 2 ? 404 : 200, path)
    t.notMatch(text, /secret|provisioner|password_hash/, path)
  }
})

t.test('migrations say how far the databases are and which failed last', async (t) => {
  const before = (await asAdmin('GET', '/migrations')).body as unknown as Record<string, number | unknown[]>
  t.match(before, { current: /^\d{4}_/, behind: 0, failed: [], upToDate: before.databases })
  const { database_id } = await db
    .selectFrom('tenants')
    .select('database_id')
    .where('id', '=', tenant.tenantId)
    .executeTakeFirstOrThrow()
  const journal = (status: 'failed' | 'succeeded') =>
    db
      .insertInto('operations')
      .values({ id: newId(), kind: 'migrate', status, step: 'migrate', database_id, error: 'no such column' })
      .execute()
  const setVersion = (schema_version: string) =>
    db.updateTable('databases').set({ schema_version }).where('id', '=', database_id).execute()
  await setVersion('0001_projects')
  await journal('failed')
  t.match((await asAdmin('GET', '/migrations')).body, {
    behind: 1,
    databases: before.databases,
    versions: [{ schemaVersion: '0001_projects', databases: 1, held: 1 }, { schemaVersion: before.current }],
    failed: [{ databaseId: database_id, tenantId: tenant.tenantId, error: 'no such column', attempts: 1 }],
  })
  await setVersion(String(before.current))
  await journal('succeeded')
  t.match(
    (await asAdmin('GET', '/migrations')).body,
    { behind: 0, failed: [] },
    'what went well since counts',
  )
})

t.test('the audit log is read newest first, by what, who, whom, where and when', async (t) => {
  const person = await signUp()
  await asAdmin('POST', `/users/${person.personId}/disable`, { reason: 'asked for it' })
  await asAdmin('POST', `/users/${person.personId}/enable`)
  const of = async (query: string) =>
    listed(await asAdmin('GET', `/audit?entityId=${person.personId}&${query}`))
  const all = await of('')
  t.match(all, [{ action: 'person.enabled' }, { action: 'person.disabled' }, { action: 'person.registered' }])
  t.match(all[1], {
    actorKind: 'person',
    actorId: admin.personId,
    entityType: 'person',
    details: { reason: 'asked for it' },
    tenantId: null,
    requestId: String,
    at: /Z$/,
  })
  t.equal((await of('action=person.disabled')).length, 1)
  t.equal((await of(`actorId=${admin.personId}`)).length, 2)
  t.equal((await of('entityType=tenant')).length, 0)
  t.equal((await of(`tenantId=${tenant.tenantId}`)).length, 0)
  t.equal((await of('from=2026-01-01T00:00:00Z&to=2099-01-01T00:00:00Z')).length, 3)
  t.equal((await of(`from=${all[0]?.at}`)).length, 1)
  t.equal((await of(`to=${all[1]?.at}`)).length, 1)
  const first = await asAdmin('GET', `/audit?entityId=${person.personId}&limit=2`)
  const rest = await asAdmin('GET', `/audit?entityId=${person.personId}&cursor=${first.body.nextCursor}`)
  t.strictSame(
    [...ids(first), ...ids(rest)],
    all.map(({ id }) => id),
  )
  for (const query of [
    'from=yesterday',
    'to=0000-01-01T00:00:00Z',
    'from=2016-12-31T23:59:60Z',
    'actorId=x',
  ]) {
    t.match((await asAdmin('GET', `/audit?${query}`)).body, { code: 'validation_failed' }, query)
  }
})

t.test('stats count what there is', async (t) => {
  const system = { name: 'Billing', email: 'billing@example.com', serviceType: 'billing' }
  await asAdmin('POST', '/system-users', system)
  const before = (await asAdmin('GET', '/stats')).body as unknown as Record<string, Record<string, number>>
  t.match(before, {
    tenants: { active: 1, pending: 0, suspended: 0, deleted: 0 },
    people: { systemUsers: 1, platformAdmins: 1 },
    databases: { held: 1, building: 0 },
    operations: { running: 0 },
    jobs: { queued: Number, running: 0, failed: 0 },
    nodes: { alive: 1 },
    router: { node: service.nodeId, leases: 0, waiters: 0, pools: Number },
  })
  const person = await signUp()
  await enqueue(db, 'tidy-access', {})
  const counted = (await asAdmin('GET', '/stats')).body
  t.match(counted, {
    people: { total: (before.people?.total ?? 0) + 1 },
    sessions: { live: (before.sessions?.live ?? 0) + 1 },
  })
  t.ok(Number((counted as unknown as typeof before).jobs?.queued) > Number(before.jobs?.queued))
  await asAdmin('POST', `/users/${person.personId}/disable`)
  t.match((await asAdmin('GET', '/stats')).body, {
    people: { disabled: (before.people?.disabled ?? 0) + 1 },
    sessions: before.sessions,
  })
})
