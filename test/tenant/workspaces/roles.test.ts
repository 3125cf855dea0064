import { readFile } from 'node:fs/promises'
import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { type Answer, type Member, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

const create = async ({ token }: Member, path: string, body: object): Promise<string> => {
  const answer = await call('POST', path, { token, body })
  if (answer.status !== 201) throw new Error(answer.text)
  return String(answer.body.id)
}

/** Writes somebody into the directory, as the master's word would. */
const enrol = ({ tenantId, personId, email }: Member): Promise<unknown> =>
  service.router.use(tenantId, (db) =>
    db
      .insertInto('users')
      .values({ id: personId, person_id: personId, kind: 'member', status: 'active', email })
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  )

const give = async (admin: Member, workspace: string, member: Member, role: string): Promise<void> => {
  await enrol(member)
  const url = `/api/workspaces/${workspace}/members/${member.personId}`
  const answer = await call('PUT', url, { token: admin.token, body: { role } })
  if (answer.status !== 200) throw new Error(answer.text)
}

/** The table of docs/permissions.md: by role in the tenant, by role in the workspace. */
const documented = async (): Promise<Map<string, string>> => {
  const text = await readFile(new URL('../../../docs/permissions.md', import.meta.url), 'utf8')
  const lines = (text.split('## Roles in workspaces')[1] ?? '').split('\n').filter((l) => l.startsWith('| '))
  const [head = [], , ...rows] = lines.map((line) => line.slice(2, -2).split(' | '))
  return new Map(rows.flatMap(([role, ...cells]) => cells.map((cell, n) => [`${role} ${head[n + 1]}`, cell])))
}

type Act = Readonly<{ needs: 'read' | 'change projects' | 'everything'; ask: () => Promise<Answer> }>

/** What there is to do in a workspace and its project, in an order in which each can be done. */
const acts = ({ token }: Member, workspace: string, project: string, somebody: string): Act[] => {
  const url = `/api/workspaces/${workspace}`
  const projectUrl = `/api/projects/${project}`
  const member = `${url}/members/${somebody}`
  const ask = (method: string, path: string, body?: object) => () => call(method, path, { token, body })
  return [
    { needs: 'read', ask: ask('GET', url) },
    { needs: 'read', ask: ask('GET', `${url}/members`) },
    { needs: 'read', ask: ask('GET', projectUrl) },
    { needs: 'change projects', ask: ask('POST', '/api/projects', { name: 'New', workspaceId: workspace }) },
    { needs: 'change projects', ask: ask('PATCH', projectUrl, { name: 'Changed' }) },
    { needs: 'change projects', ask: ask('DELETE', projectUrl) },
    { needs: 'everything', ask: ask('PATCH', url, { name: 'Changed' }) },
    { needs: 'everything', ask: ask('PUT', member, { role: 'viewer' }) },
    { needs: 'everything', ask: ask('DELETE', member) },
    // There is still a project in it: allowed is what gets as far as that.
    { needs: 'everything', ask: ask('DELETE', url) },
  ]
}

const idsOf = async ({ token }: Member, path: string): Promise<string[]> => {
  const { body } = await call('GET', `${path}?limit=100`, { token })
  return ((body.data ?? []) as unknown as { id: string }[]).map(({ id }) => id)
}

t.test('who may do what in a workspace is what docs/permissions.md says', async (t) => {
  const admin = await freehold.newTenant()
  const somebody = await freehold.join(admin, 'Basic')
  await enrol(somebody)
  const elsewhere = await create(admin, '/api/workspaces', { name: 'Elsewhere' })
  const table = await documented()
  t.equal(table.size, 16, 'the table was found')
  for (const [cell, says] of table) {
    const [inTenant = '', inWorkspace = ''] = cell.split(/ (.*)/)
    const member = await freehold.join(admin, inTenant)
    const workspace = await create(admin, '/api/workspaces', { name: cell })
    const project = await create(admin, '/api/projects', { name: cell, workspaceId: workspace })
    await create(admin, '/api/projects', { name: cell, workspaceId: workspace })
    // So that they hold a role somewhere: what they may not see here is then as if it were not there.
    if (inTenant !== 'Admin') await give(admin, elsewhere, member, 'admin')
    if (!inWorkspace.startsWith('no role')) await give(admin, workspace, member, inWorkspace)

    const reads = says !== 'nothing'
    t.equal((await idsOf(member, '/api/workspaces')).includes(workspace), reads, `${cell}: the list`)
    t.equal((await idsOf(member, '/api/projects')).includes(project), reads, `${cell}: the list of projects`)
    for (const [n, { needs, ask }] of acts(member, workspace, project, somebody.personId).entries()) {
      const allowed = says === 'everything' || says.includes(needs)
      const { status, body } = await ask()
      const name = `${cell}: act ${n}, which needs "${needs}"`
      if (allowed) t.ok(status < 300 || status === 409, `${name}: ${status}`)
      else if (reads) t.equal(body.code, 'forbidden', name)
      // Creating in a workspace that is not there is a mistake in the body.
      else t.equal(body.code, n === 3 ? 'validation_failed' : 'not_found', name)
    }
  }
})

t.test('who holds it nowhere is told so, for what is there and for what is not', async (t) => {
  const admin = await freehold.newTenant()
  const basic = await freehold.join(admin, 'Basic')
  const id = await create(admin, '/api/workspaces', { name: 'Hidden' })
  for (const one of [id, newId()]) {
    const { body } = await call('GET', `/api/workspaces/${one}`, { token: basic.token })
    t.match(body, { code: 'forbidden', detail: /^Your role Basic does not have/ })
  }
  t.match((await call('GET', '/api/workspaces', { token: basic.token })).body, { code: 'forbidden' })
})

t.test('lists, and filters of lists, show nothing of workspaces that are not seen', async (t) => {
  const admin = await freehold.newTenant()
  const basic = await freehold.join(admin, 'Basic')
  const [mine, hidden] = [
    await create(admin, '/api/workspaces', { name: 'Mine' }),
    await create(admin, '/api/workspaces', { name: 'Hidden' }),
  ]
  const seen = await create(admin, '/api/projects', { name: 'Seen', workspaceId: mine })
  await create(admin, '/api/projects', { name: 'Unseen', workspaceId: hidden })
  await create(admin, '/api/projects', { name: 'Free' })
  await give(admin, mine, basic, 'viewer')
  t.strictSame(await idsOf(basic, '/api/workspaces'), [mine])
  t.strictSame(await idsOf(basic, '/api/projects'), [seen])
  for (const query of [`workspaceId=${hidden}`, 'workspaceId=none', 'q=unseen', 'slug=unseen', 'slug=free']) {
    const { body } = await call('GET', `/api/projects?${query}`, { token: basic.token })
    t.strictSame(body, { data: [], nextCursor: null }, query)
  }
})

t.test('a project is moved only by who may take it away and may put it there', async (t) => {
  const admin = await freehold.newTenant()
  const [from, to] = [
    await create(admin, '/api/workspaces', { name: 'From' }),
    await create(admin, '/api/workspaces', { name: 'To' }),
  ]
  const member = await freehold.join(admin, 'Viewer')
  const move = async (workspaceId: string | null) => {
    const id = await create(admin, '/api/projects', { name: 'Moving', workspaceId: from })
    const answer = await call('PATCH', `/api/projects/${id}`, { token: member.token, body: { workspaceId } })
    return answer.status < 300 ? answer.body.workspaceId : answer.body.code
  }
  await give(admin, from, member, 'editor')
  t.equal(await move(to), 'forbidden')
  t.equal(await move(null), 'forbidden', 'nor out of all workspaces')
  await give(admin, to, member, 'editor')
  t.equal(await move(to), to)
  await give(admin, from, member, 'viewer')
  t.equal(await move(to), 'forbidden')
})

t.test('nobody gives a role that holds more than they hold there', async (t) => {
  const admin = await freehold.newTenant()
  const id = await create(admin, '/api/workspaces', { name: 'Place' })
  const { token } = admin
  const policy = { name: 'P', permissions: ['tenant-api:workspace:read', 'tenant-api:workspace:update'] }
  const policies = [await create(admin, '/api/policies', policy)]
  await create(admin, '/api/roles', { name: 'Doorkeeper', policies })
  const keeper = await freehold.join(admin, 'Basic')
  const role = { token, body: { role: 'Doorkeeper' } }
  t.equal((await call('PATCH', `/api/members/${keeper.personId}`, role)).status, 200)
  const somebody = await freehold.join(admin, 'Basic')
  await enrol(somebody)
  await enrol(keeper)
  const giveAs = (member: Member, to: Member, role: string) =>
    call('PUT', `/api/workspaces/${id}/members/${to.personId}`, { token: member.token, body: { role } })
  t.match((await giveAs(keeper, somebody, 'viewer')).body, { code: 'forbidden' }, 'no projects for them')
  t.match((await giveAs(keeper, keeper, 'admin')).body, { code: 'forbidden' })
  await give(admin, id, keeper, 'viewer')
  t.match((await giveAs(keeper, keeper, 'admin')).body, { code: 'forbidden' }, 'nor from below')
  const leave = await call('DELETE', `/api/workspaces/${id}/members/${keeper.personId}`, {
    token: keeper.token,
  })
  t.match(leave.body, { code: 'forbidden' }, 'who was narrowed does not free themselves')
  await give(admin, id, keeper, 'admin')
  t.equal((await giveAs(keeper, somebody, 'admin')).status, 200)
})

t.test(
  'who manages workspaces gives and moves what they hold, and is refused what they do not',
  async (t) => {
    const admin = await freehold.newTenant()
    const [from, to] = [
      await create(admin, '/api/workspaces', { name: 'From' }),
      await create(admin, '/api/workspaces', { name: 'To' }),
    ]
    const project = await create(admin, '/api/projects', { name: 'Still', workspaceId: from })
    const held = ['workspace:read', 'workspace:update', 'workspace:manage', 'project:read', 'project:update']
    const permissions = held.map((one) => `tenant-api:${one}`)
    const policies = [await create(admin, '/api/policies', { name: 'P', permissions })]
    await create(admin, '/api/roles', { name: 'Manager', policies })
    const manager = await freehold.join(admin, 'Basic')
    const [asAdmin, asManager] = [{ token: admin.token }, { token: manager.token }]
    const body = { role: 'Manager' }
    t.equal((await call('PATCH', `/api/members/${manager.personId}`, { ...asAdmin, body })).status, 200)
    await enrol(manager)
    const put = (role: string) =>
      call('PUT', `/api/workspaces/${from}/members/${manager.personId}`, { ...asManager, body: { role } })
    t.match((await put('editor')).body, { code: 'forbidden' }, 'it holds project:create')
    t.equal((await put('viewer')).status, 200)
    const move = { ...asManager, body: { workspaceId: to } }
    t.match((await call('PATCH', `/api/projects/${project}`, move)).body, { code: 'forbidden' })
  },
)

t.test('members of a workspace are listed, changed and removed', async (t) => {
  const admin = await freehold.newTenant()
  const { token } = admin
  const id = await create(admin, '/api/workspaces', { name: 'Place' })
  const url = `/api/workspaces/${id}/members`
  const member = await freehold.join(admin, 'Viewer')
  await give(admin, id, member, 'editor')
  const elsewhere = await create(admin, '/api/workspaces', { name: 'Elsewhere' })
  await give(admin, elsewhere, member, 'viewer')
  const { body } = await call('GET', `${url}?sort=createdAt`, { token })
  t.match(body, {
    data: [
      { userId: admin.personId, role: 'admin', email: admin.email, firstName: 'Test', kind: 'member' },
      { userId: member.personId, role: 'editor', email: member.email, status: 'active' },
    ],
    nextCursor: null,
  })
  t.match((await call('GET', `${url}?role=editor`, { token })).body, { data: [{ email: member.email }] })
  t.match((await call('PUT', `${url}/${newId()}`, { token, body: { role: 'viewer' } })).body, {
    code: 'not_found',
    detail: /directory/,
  })
  t.match((await call('PUT', `${url}/${member.personId}`, { token, body: { role: 'owner' } })).body, {
    code: 'validation_failed',
  })
  t.equal((body.data as unknown as unknown[]).length, 2)
  t.equal((await call('DELETE', `${url}/${member.personId}`, { token })).status, 204)
  t.match((await call('DELETE', `${url}/${member.personId}`, { token })).body, { code: 'not_found' })
  const there = await call('GET', `/api/workspaces/${elsewhere}/members?role=viewer`, { token })
  t.match(there.body, { data: [{ userId: member.personId }] }, 'what they may do elsewhere stays')
})

t.test('a role in a workspace is taken away at once', async (t) => {
  const admin = await freehold.newTenant()
  const basic = await freehold.join(admin, 'Basic')
  const id = await create(admin, '/api/workspaces', { name: 'Place' })
  await give(admin, id, basic, 'viewer')
  const url = `/api/workspaces/${id}`
  t.equal((await call('GET', url, { token: basic.token })).status, 200)
  await call('DELETE', `${url}/members/${basic.personId}`, { token: admin.token })
  t.match((await call('GET', url, { token: basic.token })).body, { code: 'forbidden' })
})
