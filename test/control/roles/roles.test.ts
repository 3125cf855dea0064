import t from 'tap'
import { allPermissions } from '../../../src/access/catalogue.ts'
import { newId } from '../../../src/kernel/ids.ts'
import { startFreehold } from '../../helpers/freehold.ts'
import { connectTo } from '../../helpers/postgres.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, join, newTenant, service } = freehold
const { create, newPolicy, newRole, setRole } = accessHands(freehold)
const { db } = service.master

const systemId = async (table: 'roles' | 'policies', name: string): Promise<string> =>
  (
    await db
      .selectFrom(table)
      .select('id')
      .where('name', '=', name)
      .where('tenant_id', 'is', null)
      .executeTakeFirstOrThrow()
  ).id

t.test('roles hold policies, policies hold permissions', async (t) => {
  const { token, tenantId, personId } = await newTenant()
  const policy = await call('POST', '/api/policies', {
    token,
    body: { name: ' Editors ', description: 'May edit', permissions: ['tenant-api:project:*'] },
  })
  t.equal(policy.status, 201)
  t.equal(policy.headers.location, `/api/policies/${policy.body.id}`)
  t.match(policy.body, { name: 'Editors', system: false, permissions: ['tenant-api:project:*'] })
  const role = await call('POST', '/api/roles', {
    token,
    body: { name: 'Editor', policies: [policy.body.id] },
  })
  t.equal(role.status, 201)
  const projects = allPermissions.filter((permission) => permission.startsWith('tenant-api:project:'))
  t.match(role.body, {
    name: 'Editor',
    description: '',
    system: false,
    members: 0,
    policies: [{ id: policy.body.id, name: 'Editors' }],
    permissions: projects,
  })
  const roleUrl = `/api/roles/${role.body.id}`
  const policyUrl = `/api/policies/${policy.body.id}`
  const added = `${policyUrl}/permissions/tenant-api:job:run`
  t.equal((await call('PUT', added, { token })).status, 204)
  t.equal((await call('PUT', added, { token })).status, 204, 'again')
  t.ok(
    ((await call('GET', roleUrl, { token })).body.permissions as unknown as string[]).includes(
      'tenant-api:job:run',
    ),
  )
  t.equal((await call('DELETE', added, { token })).status, 204)
  t.equal((await call('DELETE', added, { token })).status, 404)
  t.match(await call('PATCH', roleUrl, { token, body: { name: 'Author', description: 'Writes' } }), {
    status: 200,
    body: { name: 'Author', description: 'Writes', permissions: projects },
  })
  t.match(await call('PATCH', policyUrl, { token, body: { description: '' } }), {
    status: 200,
    body: { name: 'Editors', description: '' },
  })
  t.match(await call('DELETE', policyUrl, { token }), {
    status: 409,
    body: { code: 'conflict', detail: /^1 role has the policy Editors/ },
  })
  const link = `${roleUrl}/policies/${policy.body.id}`
  t.equal((await call('DELETE', link, { token })).status, 204)
  t.equal((await call('DELETE', link, { token })).status, 404)
  t.equal((await call('PUT', link, { token })).status, 204)
  t.equal((await call('PUT', link, { token })).status, 204, 'again')
  t.equal((await call('DELETE', roleUrl, { token })).status, 204)
  t.equal((await call('GET', roleUrl, { token })).status, 404)
  t.equal((await call('DELETE', policyUrl, { token })).status, 204)
  const log = await db
    .selectFrom('audit_log')
    .select(['action', 'actor_kind', 'actor_id', 'entity_id', 'details'])
    .where('tenant_id', '=', tenantId)
    .where('action', '~', '^(role|policy)')
    .orderBy('id')
    .execute()
  t.strictSame(
    log.map(({ action }) => action),
    [
      'policy.created',
      'policy.permission_added',
      'role.created',
      'role.policy_added',
      'policy.permission_added',
      'policy.permission_removed',
      'role.updated',
      'policy.updated',
      'role.policy_removed',
      'role.policy_added',
      'role.deleted',
      'policy.deleted',
    ],
  )
  t.match(log[4], {
    actor_kind: 'person',
    actor_id: personId,
    entity_id: policy.body.id,
    details: { permission: 'tenant-api:job:run' },
  })
})

t.test('a tenant sees the system-wide ones and its own, in pages, and nothing of others', async (t) => {
  const mine = await newTenant()
  const other = await newTenant()
  const { token } = mine
  for (const [path, id, theirs] of [
    ['/api/roles', await newRole(token), await newRole(other.token)],
    ['/api/policies', await newPolicy(token), await newPolicy(other.token)],
  ] as const) {
    const seen: { id: string; name: string; system: boolean }[] = []
    let url = `${path}?limit=2`
    for (;;) {
      const { body } = await call('GET', url, { token })
      seen.push(...(body.data as unknown as typeof seen))
      if (body.nextCursor === null) break
      url = `${path}?limit=2&cursor=${body.nextCursor}`
    }
    t.match(seen[0], { id, system: false })
    t.strictSame(
      seen.slice(1).map(({ name, system }) => [name, system]),
      [
        ['Basic', true],
        ['Viewer', true],
        ['Writer', true],
        ['Admin', true],
      ],
    )
    for (const hidden of [theirs, newId()]) {
      for (const [method, body] of [
        ['GET', undefined],
        ['PATCH', { name: 'Mine' }],
        ['DELETE', undefined],
      ] as const) {
        const answer = await call(method, `${path}/${hidden}`, { token, body })
        t.match(answer, { status: 404, body: { code: 'not_found' } }, `${method} ${path}`)
      }
    }
    t.equal((await call('GET', `${path}/${theirs}`, { token: other.token })).status, 200)
  }
})

t.test("another tenant's roles and policies can't be combined with one's own", async (t) => {
  const [mine, other] = [await newTenant(), await newTenant()]
  const { token } = mine
  const [role, policy] = [await newRole(token), await newPolicy(token)]
  const [theirRole, theirPolicy] = [await newRole(other.token), await newPolicy(other.token)]
  const refused = [
    ['PUT', `/api/roles/${role}/policies/${theirPolicy}`],
    ['PUT', `/api/roles/${theirRole}/policies/${policy}`],
    ['PUT', `/api/roles/${theirRole}/policies/${theirPolicy}`],
    ['DELETE', `/api/roles/${theirRole}/policies/${theirPolicy}`],
    ['PUT', `/api/policies/${theirPolicy}/permissions/tenant-api:job:run`],
    ['DELETE', `/api/policies/${theirPolicy}/permissions/tenant-api:job:run`],
  ] as const
  for (const [method, url] of refused) t.equal((await call(method, url, { token })).status, 404, url)
  const body = { name: 'Both', policies: [policy, theirPolicy] }
  t.equal((await call('POST', '/api/roles', { token, body })).status, 404)
  t.strictSame(await db.selectFrom('role_policies').selectAll().where('policy_id', '=', policy).execute(), [])
})

t.test("tenants use what is system-wide and can't change it", async (t) => {
  const { token } = await newTenant()
  const [role, policy] = [await systemId('roles', 'Viewer'), await systemId('policies', 'Viewer')]
  const own = await newRole(token, [policy])
  const view = await call('GET', `/api/roles/${own}`, { token })
  t.match(view.body.policies, [{ id: policy, name: 'Viewer' }])
  const refused = [
    ['PATCH', `/api/roles/${role}`],
    ['DELETE', `/api/roles/${role}`],
    ['PUT', `/api/roles/${role}/policies/${policy}`],
    ['DELETE', `/api/roles/${role}/policies/${policy}`],
    ['PATCH', `/api/policies/${policy}`],
    ['DELETE', `/api/policies/${policy}`],
    ['PUT', `/api/policies/${policy}/permissions/tenant-api:job:run`],
    ['DELETE', `/api/policies/${policy}/permissions/tenant-api:job:read`],
  ] as const
  for (const [method, url] of refused) {
    const answer = await call(method, url, { token, body: method === 'PATCH' ? { name: 'X' } : undefined })
    t.match(answer, { status: 403, body: { code: 'forbidden', detail: /of your own instead/ } }, url)
  }
})

t.test('a name is taken once among what the tenant sees, whatever its capitals', async (t) => {
  const { token } = await newTenant()
  const other = await newTenant()
  for (const path of ['/api/roles', '/api/policies']) {
    const id = await create(token, path, { name: 'Sales' })
    const second = await create(token, path, { name: 'Second' })
    for (const name of ['Sales', 'sales ', 'Admin', 'ADMIN']) {
      const conflict = { status: 409, body: { code: 'conflict' } }
      t.match(await call('POST', path, { token, body: { name } }), conflict, name)
      t.match(await call('PATCH', `${path}/${second}`, { token, body: { name } }), conflict, name)
    }
    t.equal((await call('PATCH', `${path}/${id}`, { token, body: { name: 'SALES' } })).status, 200, 'its own')
    t.ok(await create(other.token, path, { name: 'Sales' }), 'in another tenant')
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => call('POST', path, { token, body: { name: 'Once' } })),
    )
    t.equal(answers.filter(({ status }) => status === 201).length, 1, 'at once')
    t.equal(answers.filter(({ status }) => status === 409).length, 7)
  }
})

t.test("a role that members have can't be deleted", async (t) => {
  const admin = await newTenant()
  const { token } = admin
  const roleId = await newRole(token)
  const [one, two] = [await join(admin, 'Basic'), await join(admin, 'Basic')]
  await setRole(one, roleId)
  const refused = await call('DELETE', `/api/roles/${roleId}`, { token })
  t.match(refused, { status: 409, body: { code: 'conflict', detail: /^1 member has/ } })
  await setRole(two, roleId)
  const view = await call('GET', `/api/roles/${roleId}`, { token })
  t.equal(view.body.members, 2)
  t.match((await call('DELETE', `/api/roles/${roleId}`, { token })).body, { detail: /^2 members have/ })
  const basic = await systemId('roles', 'Basic')
  for (const member of [one, two]) await setRole(member, basic)
  t.equal((await call('DELETE', `/api/roles/${roleId}`, { token })).status, 204)
})

t.test(
  'who gives a role while it is being deleted, without asking, makes the deletion wait and fail',
  async (t) => {
    const admin = await newTenant()
    const roleId = await newRole(admin.token)
    const member = await join(admin, 'Basic')
    const deleting = await db.transaction().execute(async (trx) => {
      await trx
        .updateTable('memberships')
        .set({ role_id: roleId })
        .where('person_id', '=', member.personId)
        .execute()
      const answer = call('DELETE', `/api/roles/${roleId}`, { token: admin.token })
      const watcher = await connectTo(t, freehold.superuser)
      const waits = `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'delete from "roles"%'`
      while ((await watcher.query(waits)).rowCount === 0);
      return { answer }
    })
    t.match(await deleting.answer, { status: 409, body: { code: 'conflict', detail: /just come into use/ } })
  },
)

t.test('what a release no longer knows is ignored, shown, and can be taken away', async (t) => {
  const admin = await newTenant()
  const { token } = admin
  const policy = await newPolicy(token, ['tenant-api:project:read'])
  const gone = ['tenant-api:fax:send', 'tenant-api:fax:*', 'old-api:*']
  await db
    .insertInto('policy_permissions')
    .values(gone.map((permission) => ({ policy_id: policy, permission })))
    .execute()
  const member = await join(admin, 'Basic')
  await setRole(member, await newRole(token, [policy]))
  const context = await call('GET', '/auth/context', { token: member.token })
  t.strictSame(context.body.permissions, ['tenant-api:project:read'])
  const shown = (await call('GET', `/api/policies/${policy}`, { token })).body
    .permissions as unknown as string[]
  t.strictSame(shown, [...gone, 'tenant-api:project:read'].sort())
  for (const permission of gone) {
    const url = `/api/policies/${policy}/permissions/${encodeURIComponent(permission)}`
    t.equal((await call('DELETE', url, { token })).status, 204)
  }
  for (const odd of ['%00', 'x%0ay', `${'x'.repeat(300)}`]) {
    t.equal((await call('DELETE', `/api/policies/${policy}/permissions/${odd}`, { token })).status, 400)
  }
})

t.test('the catalogue is shown whole', async (t) => {
  const { token } = await newTenant()
  const { body } = await call('GET', '/api/permissions', { token })
  const data = body.data as unknown as { name: string }[]
  t.strictSame(
    data.map(({ name }) => name),
    allPermissions,
  )
  t.match(
    data.find(({ name }) => name === 'tenant-api:job:run'),
    {
      description: 'Run jobs',
      service: 'tenant-api',
      entity: 'job',
      action: 'run',
    },
  )
})
