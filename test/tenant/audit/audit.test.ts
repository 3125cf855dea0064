import pg from 'pg'
import t from 'tap'
import { clientOptions } from '../../../src/kernel/postgres-address.ts'
import { type Member, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'
import { until } from '../../helpers/until.ts'

/** Reading a tenant's audit log. Sealing and verifying it: see sealing.test.ts. */

const freehold = await startFreehold(t)
const { call, service, newTenant, join, signUp, asSuperuser, app } = freehold
const { db } = service.master

type Entry = Record<string, unknown> & { id: string; action: string }
const read = async (by: Member, query = ''): Promise<Entry[]> => {
  const answer = await call('GET', `/api/audit?limit=100${query}`, { token: by.token })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.body.data as unknown as Entry[]
}
const actionsOf = (entries: Entry[]): string[] => entries.map(({ action }) => action)
const newProject = async (by: Pick<Member, 'token'>, name: string): Promise<string> =>
  String((await call('POST', '/api/projects', { token: by.token, body: { name } })).body.id)

const admin = await newTenant()

t.test('what happened is there, newest first, with who, what and from where', async (t) => {
  const id = await newProject(admin, 'First')
  await call('DELETE', `/api/projects/${id}`, { token: admin.token })
  const [deleted, created, ...more] = await read(admin)
  t.strictSame(more, [])
  t.match(deleted, { action: 'project.deleted', position: null, hash: null })
  t.match(created, {
    ...{ action: 'project.created', entityType: 'project', entityId: id },
    ...{ actorKind: 'person', actorId: admin.personId, address: '127.0.0.1', requestId: String },
    at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
  })
})

t.test('each kind of actor is named as what it is', async (t) => {
  const tenant = await newTenant()
  const body = { name: 'Robot', role: 'Writer', serviceType: 'test' }
  const robot = (await call('POST', '/api/system-users', { token: tenant.token, body })).body
  const signedIn = await call('POST', '/auth/token', {
    body: { grant_type: 'client_credentials', client_id: robot.id, client_secret: robot.clientSecret },
  })
  await newProject({ token: String(signedIn.body.access_token) }, "The robot's")
  const operator = await signUp()
  await makePlatformAdmin(service, operator.personId)
  const entered = await call('POST', '/auth/switch', {
    token: operator.token,
    body: { tenant: tenant.tenantId, reason: 'because' },
  })
  await newProject({ token: String(entered.body.accessToken) }, "The operator's")
  await service.manager.deliverOutbox(tenant.tenantId)
  const entries = await read(tenant)
  const kindOf = (action: string, actorId: unknown) =>
    entries.find((entry) => entry.action === action && entry.actorId === actorId)?.actorKind
  t.equal(kindOf('project.created', robot.id), 'system_user')
  t.equal(kindOf('system_user.signed_in', robot.id), 'system_user')
  t.equal(kindOf('project.created', operator.personId), 'platform_admin')
  t.equal(kindOf('system_user.created', tenant.personId), 'person')
  const entry = entries.find(({ action }) => action === 'platform_admin.entered_tenant')
  t.match(entry, { actorKind: 'platform_admin', details: { reason: 'because' } })
})

t.test('a change of the settings says what they were and are, in the tenant and nowhere else', async (t) => {
  const tenant = await newTenant()
  const change = (settings: object) =>
    call('PATCH', '/api/tenant', { token: tenant.token, body: { settings } })
  await change({ colour: 'red' })
  await change({ colour: 'canary-yellow' })
  const [entry] = await read(tenant)
  t.match(entry, {
    action: 'tenant.settings_updated',
    before: { settings: { colour: 'red' }, metadata: {} },
    after: { settings: { colour: 'canary-yellow' }, metadata: {} },
  })
  const client = new pg.Client(clientOptions(service.master.address))
  await client.connect()
  t.teardown(() => client.end())
  const { rows: tables } = await client.query(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'graphile_worker')",
  )
  t.ok(tables.length > 30)
  for (const { name } of tables) {
    const { rows } = await client.query(`select from ${name} as t where t::text like '%canary-yellow%'`)
    t.equal(rows.length, 0, name)
  }
})

t.test('filters narrow, alone and together; a time has any offset', async (t) => {
  const tenant = await newTenant()
  const other = await join(tenant, 'Admin')
  const id = await newProject(tenant, 'One')
  await newProject(other, 'Two')
  await call('PATCH', `/api/projects/${id}`, { token: other.token, body: { name: 'Three' } })
  const found = async (query: string) =>
    actionsOf(await read(tenant, query)).filter((a) => a !== 'audit.read')
  t.strictSame(await found(''), ['project.updated', 'project.created', 'project.created'])
  t.strictSame(await found('&action=project.created'), ['project.created', 'project.created'])
  t.strictSame(await found(`&actorId=${other.personId}`), ['project.updated', 'project.created'])
  t.strictSame(await found(`&entityId=${id}`), ['project.updated', 'project.created'])
  t.strictSame(await found(`&entityId=${id}&actorId=${other.personId}`), ['project.updated'])
  t.strictSame(await found('&entityType=job'), [])
  t.strictSame(await found(`&workspaceId=${id}`), [])
  await asSuperuser(
    tenant.tenantId,
    `alter table audit_log disable trigger audit_log_append_only;
     update audit_log set at = '2026-03-01T12:00:00Z' where action = 'project.updated';
     alter table audit_log enable trigger audit_log_append_only`,
  )
  const between = (from: string, to: string) =>
    found(`&from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`)
  t.strictSame(await between('2026-03-01T12:00:00Z', '2026-03-01T12:00:01Z'), ['project.updated'])
  t.strictSame(await between('2026-03-01T14:00:00+02:00', '2026-03-01T14:00:01+02:00'), ['project.updated'])
  t.strictSame(await between('2026-03-01T13:00:00+02:00', '2026-03-01T14:00:00+02:00'), [])
  for (const query of ['from=2026-03-01', 'from=0000-01-01T00:00:00Z', 'to=x', 'actorId=x', 'cursor=x']) {
    const path = `/api/audit?${query}`
    t.match((await call('GET', path, { token: tenant.token })).body, { code: 'validation_failed' }, query)
    const exported = `/api/audit/export?${query.replace('cursor=x', 'actorId=x')}`
    t.match((await call('GET', exported, { token: tenant.token })).body, { code: 'validation_failed' }, query)
  }
})

t.test('pages follow each other without a gap, whatever is written meanwhile', async (t) => {
  const tenant = await newTenant()
  for (let n = 0; n < 7; n += 1) await newProject(tenant, `${n}`)
  const all = (await read(tenant, '&action=project.created')).map(({ id }) => id)
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const more: string = cursor === null ? '' : `&cursor=${cursor}`
    const answer = await call('GET', `/api/audit?limit=3&action=project.created${more}`, {
      token: tenant.token,
    })
    seen.push(...(answer.body.data as unknown as Entry[]).map(({ id }) => id))
    cursor = answer.body.nextCursor as unknown as string | null
    if (seen.length < 6) await newProject(tenant, 'meanwhile')
  } while (cursor !== null)
  t.strictSame(seen, all)
})

t.test(
  'who reads or exports the log is in it, once for each request, with what they looked for',
  async (t) => {
    const tenant = await newTenant()
    const viewer = await join(tenant, 'Viewer')
    await read(viewer, '&action=x')
    await call('GET', '/api/audit/export?entityType=y', { token: tenant.token })
    t.match(await read(tenant), [
      { action: 'audit.exported', actorId: tenant.personId, details: { entityType: 'y' } },
      { action: 'audit.read', actorId: viewer.personId, details: { action: 'x' } },
    ])
    t.match((await call('GET', '/api/audit/export', { token: viewer.token })).body, { code: 'forbidden' })
  },
)

t.test("another tenant's entries are not there, nor behind a cursor of theirs", async (t) => {
  const [one, other] = [await newTenant(), await newTenant()]
  await newProject(one, 'Secret')
  t.strictSame(await read(other), [])
  const { body } = await call('GET', '/api/audit?limit=1', { token: one.token })
  await newProject(one, 'Secret too')
  const again = await call('GET', '/api/audit?limit=1', { token: one.token })
  t.not(again.body.nextCursor, null)
  t.not(body, again.body)
  const foreign = await call('GET', `/api/audit?cursor=${again.body.nextCursor}`, { token: other.token })
  t.strictSame(foreign.body.data, [])
})

t.test(
  "the tenant's own role can add and read, not change or remove; its owner does not by a slip",
  async (t) => {
    const tenant = await newTenant()
    await newProject(tenant, 'X')
    const { name } = await db
      .selectFrom('tenants')
      .innerJoin('databases', 'databases.id', 'tenants.database_id')
      .select('databases.name')
      .where('tenants.id', '=', tenant.tenantId)
      .executeTakeFirstOrThrow()
    for (const [role, code] of [
      [name, '42501'],
      [`${name}_owner`, 'P0001'],
    ] as const) {
      for (const statement of [
        "update audit_log set action = 'x'",
        'delete from audit_log',
        'truncate audit_log',
        'update audit_seals set position = 2',
        'delete from audit_seals',
      ]) {
        await t.rejects(asSuperuser(tenant.tenantId, `set role "${role}"; ${statement}`), { code }, statement)
      }
    }
    for (const statement of [
      "insert into audit_seals select 1, id, sha256('') from audit_log",
      'update audit_chain set sealed_seq = 9',
      'insert into audit_gaps (first_seq, last_seq) values (1, 2)',
    ]) {
      await t.rejects(asSuperuser(tenant.tenantId, `set role "${name}"; ${statement}`), { code: '42501' })
    }
  },
)

t.test('an export is a stream of lines that waits for its reader and holds every entry once', async (t) => {
  const tenant = await newTenant()
  await asSuperuser(
    tenant.tenantId,
    `insert into audit_log (id, actor_kind, action, entity_type, details)
     select gen_random_uuid(), 'system', 'filler', 'test', jsonb_build_object('text', repeat('x', 1000), 'n', n)
       from generate_series(1, 20000) n`,
  )
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const open = (signal: AbortSignal | null = null) =>
    fetch(`${address}/api/audit/export?action=filler`, {
      headers: { authorization: `Bearer ${tenant.token}` },
      signal,
    })
  const leaving = new AbortController()
  const left = await open(leaving.signal)
  t.equal(left.headers.get('content-type'), 'application/x-ndjson')
  await left.body?.getReader().read()
  t.equal(service.router.stats().leases, 1, 'while nobody reads on, it waits')
  leaving.abort()
  const numbers = new Set<number>()
  let rest = ''
  for await (const piece of (await open()).body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) numbers.add(JSON.parse(line).details.n)
  }
  t.strictSame([numbers.size, rest], [20_000, ''])
  await until(async () => service.router.stats().leases === 0)
})
