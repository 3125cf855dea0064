import t from 'tap'
import { newId } from '../../../src/kernel/ids.ts'
import { type Member, makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

const directory = ({ tenantId }: Member) =>
  service.router.use(tenantId, (db) =>
    db
      .selectFrom('users')
      .select(['id', 'person_id', 'kind', 'status', 'email', 'first_name'])
      .orderBy('created_at')
      .execute(),
  )
const create = async ({ token }: Member, name = 'A project'): Promise<unknown> => {
  const answer = await call('POST', '/api/projects', { token, body: { name } })
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.body.createdBy
}
const addUser = ({ tenantId }: Member, email: string): Promise<string> =>
  service.router.use(tenantId, async (db) => {
    const user = { id: newId(), email, kind: 'added', status: 'active' } as const
    await db.insertInto('users').values(user).execute()
    return user.id
  })

t.test('whoever creates something is in the directory from then on, once', async (t) => {
  const admin = await freehold.newTenant()
  const made = await Promise.all(Array.from({ length: 8 }, (_, n) => create(admin, `Project ${n}`)))
  t.ok(made.every((createdBy) => createdBy === admin.personId))
  const { personId, email } = admin
  t.match(await directory(admin), [
    { id: personId, person_id: personId, kind: 'member', status: 'active', email, first_name: 'Test' },
  ])
  t.equal((await directory(admin)).length, 1)
})

t.test('whoever was added by their address before they were a member stays one person', async (t) => {
  const admin = await freehold.newTenant()
  const writer = await freehold.join(admin, 'Writer')
  const added = await addUser(admin, writer.email.toUpperCase())
  t.equal(await create(writer), added)
  t.match(await directory(admin), [
    { id: added, person_id: writer.personId, kind: 'member', email: writer.email },
  ])
})

t.test('an address that somebody else still has here keeps nobody from working', async (t) => {
  const admin = await freehold.newTenant()
  const writer = await freehold.join(admin, 'Writer')
  await addUser(admin, writer.email)
  await freehold.asSuperuser(
    admin.tenantId,
    "update users set person_id = gen_random_uuid(), kind = 'member'",
  )
  t.equal(await create(writer), writer.personId)
  t.match((await directory(admin)).at(-1), { id: writer.personId, email: null })
})

t.test('of a system user and of an operator the directory keeps no address', async (t) => {
  const admin = await freehold.newTenant()
  const made = await call('POST', '/api/system-users', {
    token: admin.token,
    body: { name: 'Robot', role: 'Writer', serviceType: 'test' },
  })
  const { clientId: client_id, clientSecret: client_secret } = made.body
  const grant = { grant_type: 'client_credentials', client_id, client_secret }
  const { body } = await call('POST', '/auth/token', { body: grant })
  const robot = { ...admin, token: String(body.access_token) }
  const robotId = await create(robot)

  const operator = await freehold.signUp()
  await makePlatformAdmin(service, operator.personId)
  const entered = await call('POST', '/auth/switch', {
    token: operator.token,
    body: { tenant: admin.tenantId, reason: 'A question of theirs' },
  })
  const token = String(entered.body.accessToken)
  t.equal(await create({ ...admin, token }), operator.personId)
  const { body: place } = await call('POST', '/api/workspaces', { token, body: { name: 'Place' } })
  const members = await call('GET', `/api/workspaces/${place.id}/members`, { token: admin.token })
  t.strictSame(members.body.data, [], 'an operator does not stay')
  t.match(await directory(admin), [
    { id: robotId, kind: 'system', email: null, first_name: 'Robot' },
    { id: operator.personId, kind: 'operator', email: null, first_name: null },
  ])
  const people = await call('GET', '/api/users', { token: admin.token })
  t.strictSame(people.body.data, [], 'nor does it list them among people')
})

t.test('a node of the release before creates without knowing the directory', async (t) => {
  const admin = await freehold.newTenant()
  const personId = newId()
  await service.router.use(admin.tenantId, (db) =>
    db.insertInto('projects').values({ id: newId(), name: 'Old', created_by: personId }).execute(),
  )
  t.match(await directory(admin), [{ id: personId, person_id: personId, kind: 'member', status: 'removed' }])
})
